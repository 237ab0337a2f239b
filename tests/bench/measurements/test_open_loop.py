"""Load at a rate: what is due is sent, and counted from when it was due."""

import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.load import arrivals, measure, slo
from crossrun_bench.measurements.load import turns as load_turns
from crossrun_bench.measurements.load.generator import counting, loops
from crossrun_bench.measurements.load.plan import Load, Time
from crossrun_bench.measurements.load.result import LoadResult, LoadTurn
from crossrun_bench.measurements.load.steady import settled
from crossrun_bench.measurements.load.summary import load_rows, open_rows
from crossrun_bench.measurements.load.turns import Running
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters
from tests.support import fakes
from tests.support.loads import CLOSED, OPEN, TOLD, WANTED, load
from tests.support.pages import plotted
from tests.support.running import Command

Probe = Callable[[float, int], LoadTurn]
STALL_S = 0.3
INFO = ModelInfo("m", "1", "0" * 64, {"model": "tiny"}, 8, 8, 3)
MACHINE = machine.describe()


def stalling(request: Request) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    """A server's answer: right, one at a time, and once, at its 150th, only after a while."""
    answer, one, asked = fakes.right(request), threading.Lock(), iter(range(10**9))

    def answered(_: bytes, __: grpc.ServicerContext) -> bytes:
        with one:
            if next(asked) == 150:
                time.sleep(STALL_S)
        return answer

    return answered


def taken(
    request: Request, address: str, load: Load, processes: int = 1, seconds: float = 1.0
) -> LoadTurn:
    """A turn of real generators."""
    with ExitStack() as stack:
        asking = [stack.enter_context(fakes.generator(request)) for _ in range(processes)]
        server = Running("fake", address, None)
        return load_turns.taken(asking, server, load, Time(0.01, seconds), 1)


def test_a_stall_is_seen_by_an_open_loop_and_missed_by_a_closed_one(request_: Request) -> None:
    """Both take as long as the stall at most, but only what was due meanwhile makes it the p99."""
    with fakes.fake(stalling(request_)) as address:
        closed = taken(request_, address, Load(clients=1))
    with fakes.fake(stalling(request_)) as address:
        offered = taken(request_, address, Load(rate=400.0, arrivals="poisson"))
    assert not closed.errors
    assert not offered.errors
    assert max(closed.us) >= 1e6 * STALL_S
    assert np.percentile(closed.us, 99) < max(closed.us) / 2
    assert np.percentile(offered.us, 99) > max(offered.us) / 2
    assert np.percentile(offered.us, 99) > np.percentile(closed.us, 99)


def test_a_late_generator_is_seen(request_: Request) -> None:
    """What was due while the generator was held is late by so much, and its latency counts that."""
    with fakes.fake(lambda *_: fakes.right(request_)) as address, ExitStack() as stack:
        child = stack.enter_context(fakes.generator(request_))
        schedule = arrivals.schedule("constant", 200.0, 1.0, 0)
        child.ask(do="turn", address=address, schedule=schedule[:1], warm=0, seconds=0.01)
        child.say(do="turn", address=address, schedule=schedule, warm=0, seconds=1.0)
        time.sleep(0.4)
        child.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        child.process.send_signal(signal.SIGCONT)
        found = child.hear()
    assert max(found["late_us"]) > 100_000
    assert all(us >= late for us, late in zip(found["us"], found["late_us"], strict=True))


def test_what_cannot_be_sent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead server: so many are under way and never answered, all others that were due, unsent."""
    monkeypatch.setattr(counting, "PATIENCE_S", 0.05)
    dead = threading.Event()
    schedule = arrivals.schedule("constant", 200.0, 0.1, 0)
    found = loops.opened([lambda: (dead.wait(), "")] * 3, schedule, 0.0, 0.1)
    dead.set()
    assert found["errors"] == {"NOT_SENT": 18, "NO_ANSWER": 2}
    assert found["us"] == []


def test_several_processes_send_one_load_together(request_: Request) -> None:
    """Their requests add up to what one would send, in thirds of the time; so do closed loops."""
    seen: list[bytes] = []

    def answer(body: bytes, _: grpc.ServicerContext) -> bytes:
        seen.append(body)
        return fakes.right(request_)

    with fakes.fake(answer) as address:
        load = Load(rate=100.0, arrivals="constant")
        offered = taken(request_, address, load, processes=2, seconds=0.3)
        assert len(seen) == 31 + 2  # the first of each process is only checked
        closed = taken(request_, address, Load(clients=1), processes=2, seconds=0.1)
    assert sum(offered.windows) == len(offered.us) == len(offered.late_us) == 30
    assert sum(closed.windows) == len(closed.us) > 0
    assert not offered.errors


def test_arrivals_are_random_or_even_and_the_same_for_a_seed() -> None:
    """Both keep the rate and the time; only Poisson's gaps differ, as exponential ones do."""
    even = np.array(arrivals.schedule("constant", 500.0, 4.0, 1))
    drawn = np.array(arrivals.schedule("poisson", 500.0, 4.0, 1))
    assert len(even) == 2000
    assert set(np.diff(even)) == {2_000_000}
    assert len(drawn) == pytest.approx(2000, rel=0.1)
    assert 0 < drawn[0] <= drawn[-1] < 4e9
    assert np.std(np.diff(drawn)) == pytest.approx(2e6, rel=0.1)
    assert arrivals.schedule("poisson", 500.0, 4.0, 1) == drawn.tolist()
    assert arrivals.schedule("poisson", 500.0, 4.0, 2) != drawn.tolist()


def probing(capacity: float, unlucky: Sequence[int] = ()) -> Probe:
    """Probes of a server that holds the objective up to some rate, but for some probes."""

    def probe(rate: float, number: int) -> LoadTurn:
        us = 10_000 if rate <= capacity and number not in unlucky else 20_000
        return dataclasses.replace(OPEN, rate=rate, us=(us,) * 400, probe=True)

    return probe


def found(probe: Probe) -> slo.Highest:
    return slo.highest(list(slo.search(probe, 100.0, WANTED)), WANTED)


@pytest.mark.parametrize("unlucky", [(), (3,), (9,), (12,)])
@pytest.mark.parametrize("capacity", [5.0, 66.0, 99.9, 100.0, 1234.0])
def test_the_highest_rate_is_between_one_that_holds_and_one_that_does_not(
    capacity: float, unlucky: Sequence[int]
) -> None:
    """The bracket is narrow, its lower end held three times; one unlucky probe moves neither."""
    answer = found(probing(capacity, unlucky))
    assert answer.rate
    assert answer.fails_at
    assert answer.rate <= capacity < answer.fails_at
    assert answer.fails_at - answer.rate <= 0.025 * answer.fails_at
    assert answer.held == 3


def test_a_rate_that_does_not_hold_again_is_none() -> None:
    """One that held and then failed twice is ruled out; where nothing holds there is no rate."""
    unsure = found(probing(66.0, unlucky=(12, 13)))
    assert unsure.rate
    assert unsure.fails_at
    assert unsure.rate < unsure.fails_at < 66.0
    assert found(probing(1.0)).rate is None


@pytest.mark.parametrize(
    "broken",
    [
        {"us": (10_001,) * 400},
        {"errors": {"RESOURCE_EXHAUSTED": 1}},
        {"ended": (133, 120, 120)},
        {"us": (1,) * 19, "windows": (7, 6, 6), "ended": (7, 6, 6)},
    ],
    ids=["slow", "failing", "behind", "few"],
)
def test_an_objective_does_not_hold(broken: dict[str, object]) -> None:
    """Too slow, failing, falling behind, or too few to tell; else it does."""
    assert slo.holds(OPEN, WANTED)
    assert not slo.holds(dataclasses.replace(OPEN, **broken), WANTED)  # type: ignore[arg-type]


def test_a_turn_that_drifts_is_not_settled() -> None:
    """In throughput, in latency, or behind what was due; and the report marks it."""
    slower = dataclasses.replace(CLOSED, us=(10_000,) * 266 + (13_000,) * 134)
    fewer = dataclasses.replace(CLOSED, windows=(160, 120, 120))
    behind = dataclasses.replace(OPEN, ended=(133, 110, 90))
    random = dataclasses.replace(OPEN, windows=(160, 120, 120), ended=(160, 120, 120))
    assert [settled(turn) for turn in (CLOSED, OPEN, random)] == [True] * 3
    assert [settled(turn) for turn in (slower, fewer, behind)] == [False] * 3
    assert "| crossrun | 400/s †1 |" in " ".join(markdown.render(chapters([load(behind)])).split())
    assert "†" not in markdown.render(chapters([load(OPEN)]))


def test_a_percentile_is_told_where_ten_requests_took_longer() -> None:
    """p99.9 from 10,000 on; and what the server told is in the row."""
    told = {"queue_us": (4_000,) * 10_000, "compute_us": (5_000,) * 10_000}
    many = dataclasses.replace(OPEN, us=(10_000,) * 10_000, **told)  # type: ignore[arg-type]
    (row,), (few,) = open_rows(load(many)), open_rows(load(OPEN))
    assert (row.latency.p99, row.latency.p999, row.latency.longest) == (10.0, 10.0, 10.0)
    assert (few.latency.p90, few.latency.p99, few.latency.p999) == (10.0, None, None)
    assert (row.parts.queue, row.parts.compute, row.parts.rest) == (4.0, 5.0, 1.0)
    assert few.parts.queue is None


def test_a_generator_at_its_limit_is_warned_of() -> None:
    """Where it takes most of a core, or what it adds is much of the latency."""
    full = dataclasses.replace(OPEN, generator_cpu_ns=800_000_000)
    late = dataclasses.replace(OPEN, us=(10_000,) * 2000, late_us=(5_000,) * 2000)
    assert "Warning" not in markdown.render(chapters([load(OPEN)]))
    took = "took 70 % of a core or more: crossrun at 400/s"
    assert took in markdown.render(chapters([load(full)]))
    assert "is late sending: crossrun at 400/s" in markdown.render(chapters([load(late)]))


def test_open_loops_and_the_highest_rate_are_in_every_form_of_the_report(tmp_path: Path) -> None:
    """What is written is read; rates are plotted with those that were probed."""
    probe = dataclasses.replace(OPEN, rate=200.0, probe=True)
    store.write(tmp_path / "l.json", load(OPEN, probe))
    read = store.read(tmp_path / "l.json")
    assert read == load(OPEN, probe)
    text, page = markdown.render(chapters([read])), html.render(chapters([read]))
    assert "### Highest rate with p50 ≤ 10 ms" in text
    assert "| crossrun | 200 | – | 50 % | 1 of 1 | 1 |" in text  # noqa: RUF001 - as reports write it
    assert plotted(page)["Open loop: p50, and p99 dotted, against offered load"][0]["x"] == [
        200,
        400,
    ]


def test_throughput_against_clients_and_the_parts_of_a_request_are_plotted() -> None:
    """A point for each number of clients; a bar for each load of which the server tells."""
    found = plotted(html.render(chapters([load(TOLD)])))
    clients = found["Closed loop: throughput against clients"]
    assert [trace["x"] for trace in clients if trace["name"] == "crossrun"] == [[4]]
    title = "Where a request's time goes, medians, where the server tells"
    queue, compute, rest = found[title]
    assert (queue["x"], compute["x"], rest["x"]) == ([1.0], [3.0], [6.0])
    assert queue["y"] == ["crossrun, 400/s"]
    encoded = load(dataclasses.replace(TOLD, decode_us=(2_000,) * 4000))
    decode, *_, rest = plotted(html.render(chapters([encoded])))[title]
    assert (decode["name"], decode["x"], rest["x"]) == ("decode", [2.0], [4.0])
    said = "Decoding the picture, ms: crossrun at 400/s 2.00."
    assert said in " ".join(markdown.render(chapters([encoded])).split())


def test_what_a_server_does_not_tell_has_no_bar() -> None:
    """Beside one that decodes pictures and tells of it, another's decoding is unknown, not 0."""
    told, encoded = load(TOLD), load(dataclasses.replace(TOLD, decode_us=(2_000,) * 4000))
    other = dataclasses.replace(encoded.targets[-1], target="other")
    both = dataclasses.replace(told, targets=(*told.targets, other))
    decode, *_ = plotted(html.render(chapters([both])))[
        "Where a request's time goes, medians, where the server tells"
    ]
    assert (decode["x"], decode["text"]) == ([None, 2.0], ["", "2.00"])


def test_an_objective_needs_a_target_that_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """A search that never began found no rate that holds: the command fails and says so."""
    silent = dataclasses.replace(CLOSED, us=(), windows=(), errors={"UNAVAILABLE": 9})
    ready: Any = measure._Ready((), (("keras", None),), ())  # type: ignore[arg-type]
    plan: Any = SimpleNamespace(objective=WANTED)
    with pytest.raises(BenchError, match="--slo: no target answered, so that nothing holds p50 ≤"):
        measure._search(plan, ready, (), {"keras": [silent]})
    assert "--slo: keras answered nothing" in capsys.readouterr().err


def test_a_file_from_before_open_loops_is_read(tmp_path: Path) -> None:
    """What it does not tell is left out."""
    document = store.to_document(load())
    new = ("rate", "probe", "windows", "ended", "late_us", "queue_us", "compute_us")
    for turn in document["targets"][0]["turns"]:
        for name in new:
            del turn[name]
    for name in ("arrivals", "objective", "processes"):
        del document[name]
    (tmp_path / "old.json").write_text(json.dumps(document))
    read = store.read(tmp_path / "old.json")
    assert isinstance(read, LoadResult)
    assert not load_rows(read)[0].unsettled
    assert not open_rows(read)


def test_load_at_rates_from_command_to_report(colours: Path, tmp_path: Path, run: Command) -> None:
    """Both loops in one result."""
    out = tmp_path / "l.json"
    options = ["--clients", 1, "--rate", "50,80", "--arrivals", "constant", "--rounds", 1]
    options += ["--seconds", 0.1, "--processes", 2, "--output", out]
    done = run("crossrun-bench", "load", colours, "--model", "colours", *options)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LoadResult)
    (ours,) = (target for target in result.targets if not target.in_process)
    assert [(turn.clients, turn.rate, len(turn.us)) for turn in ours.turns[1:]] == [
        (0, 50.0, 5),
        (0, 80.0, 8),
    ]
    shown = run("crossrun-bench", "report", out)
    assert "Open loop, constant arrivals" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "fast"], "--rate 'fast': expected requests a second, such as 50,100,200"),
        (["--rate", "0"], "--rate '0': expected requests a second"),
        (["--rate", "9", "--arrivals", "odd"], "--arrivals 'odd': expected poisson or constant"),
        (["--slo", "p98=10ms"], "--slo 'p98=10ms': expected one of p50, p90, p95, p99, p99.9"),
        (["--slo", "p99=10"], "--slo 'p99=10': expected one of"),
        (["--slo", "p99=0ms"], "--slo 'p99=0ms': expected one of"),
    ],
)
def test_a_mistyped_rate_or_objective_is_one_line(
    colours: Path, run: Command, options: list[str], said: str
) -> None:
    """What was wrong and what was expected, before anything is started."""
    done = run("crossrun-bench", "load", colours, "--model", "colours", *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
