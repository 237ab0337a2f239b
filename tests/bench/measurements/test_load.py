"""Load for real: a server, the generator, onnxruntime in process, on a model that is tiny."""

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.load import servers
from crossrun_bench.measurements.load.generator import counting, loops
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn
from crossrun_bench.measurements.load.summary import load_rows
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.processes import shared_memory
from crossrun_bench.processes.serving import running
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters
from crossrun_bench.view.figures import NONE
from tests.support import fakes
from tests.support.fakes import fake
from tests.support.running import Command, Server

MACHINE = dataclasses.replace(machine.describe(), cores=2.0)
INFO = ModelInfo("m", "1", "0" * 64, {"model": "tiny"}, 8, 8, 3)


def turns(clients: int, ms: float, share: float = 0.0) -> tuple[LoadTurn, ...]:
    """Two rounds of two seconds, in which every request takes `ms`."""
    us = (int(ms * 1000),) * int(clients * 2000 / ms)
    cpu = int(2 * share * MACHINE.cores * 1e9)
    return tuple(
        LoadTurn(clients, n, 2 * 10**9, us, {}, cpu, 4 * 10**9, len(us), 10**8) for n in (1, 2)
    )


def load() -> LoadResult:
    """Two in process, and a server that leaves a tenth of the cores to the generator."""
    broken = LoadTurn(4, 1, 10**9, (), {"UNAVAILABLE": 7}, 0, None, 0, None)
    targets = (
        LoadTarget("in process 1x2", True, turns(1, 2.0)),
        LoadTarget("in process 2x1", True, turns(2, 2.5)),
        LoadTarget("crossrun", False, turns(1, 4.0, 0.1) + turns(4, 10.0, 0.1)),
        LoadTarget("broken", False, (broken,)),
    )
    return LoadResult("crossrun-bench load models", MACHINE, INFO, False, targets)


@contextmanager
def generating(request: Request) -> Iterator[Callable[..., dict[str, Any]]]:
    """A generator that is told to take short turns."""
    with fakes.generator(request) as child:
        yield lambda address, clients=2: child.ask(
            do="turn", address=address, clients=clients, warm=0.05, seconds=0.1
        )


def test_load_of_a_server_beside_onnxruntime_alone(
    colours: Path, server: Server, tmp_path: Path, run: Command
) -> None:
    """From command to report: each target in each round, all requests answered."""
    out, page = tmp_path / "l.json", tmp_path / "l.html"
    options = ["--clients", "1,3", "--rounds", 2, "--seconds", 0.1, "--output", out]
    options += ["--server", f"other={server.address}"]
    done = run("crossrun-bench", "load", colours, "--model", "colours", *options)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LoadResult)
    assert [t.target for t in result.targets if not t.in_process] == ["crossrun", "other"]
    for target in result.targets[-2:]:
        assert [(t.round, t.clients) for t in target.turns] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    for turn in (turn for target in result.targets for turn in target.turns):
        assert not turn.errors
        assert 0 < len(turn.us) <= turn.served
        assert sum(turn.windows) == len(turn.us)
    ours, other = result.targets[-2:]
    assert all(turn.rss_bytes and turn.server_cpu_ns is not None for turn in ours.turns)
    for turn in ours.turns:
        inside = zip(turn.us, turn.queue_us, turn.compute_us, strict=True)
        assert all(us >= queue + compute > 0 for us, queue, compute in inside)
    assert all(turn.rss_bytes is None and turn.server_cpu_ns is None for turn in other.turns)
    shown = run("crossrun-bench", "report", out, "--output", page)
    assert shown.returncode == 0, shown.stderr
    assert "in process 1x" in shown.stdout
    assert "crossrun" in page.read_text()


def test_our_server_is_asked_in_every_form(colours: Path, tmp_path: Path, run: Command) -> None:
    """Bytes, numbers, shared memory, JPEG, REST: a target each, all right; nothing is left.

    Of a JPEG the server tells how long it took to decode.
    """
    out = tmp_path / "l.json"
    forms = ["raw", "typed", "shm", "jpeg", "rest-binary", "rest-json"]
    options = ["--form", ",".join(forms), "--clients", 2, "--rounds", 1, "--seconds", 0.1]
    done = run("crossrun-bench", "load", colours, "--model", "colours", *options, "--output", out)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LoadResult)
    served = [target for target in result.targets if not target.in_process]
    names = ["crossrun", *(f"crossrun {form}" for form in forms[1:])]
    assert [target.target for target in served] == names
    for target in served:
        assert all(turn.us and not turn.errors for turn in target.turns)
        assert all(len(turn.compute_us) == len(turn.us) for turn in target.turns)
    decoding = {t.target: turn.decode_us for t in served for turn in t.turns if turn.decode_us}
    assert decoding.keys() == {"crossrun jpeg"}
    assert all(decoding["crossrun jpeg"])
    assert not list(shared_memory.FOLDER.glob("crossrun-bench-*"))


def test_an_unknown_form_is_refused(colours: Path, run: Command) -> None:
    """With those there are, before anything is started."""
    done = run("crossrun-bench", "load", colours, "--model", "colours", "--form", "raw,smoke")
    assert done.returncode == 1
    assert done.stderr == (
        "crossrun-bench: --form 'raw,smoke': expected some of raw, typed, shm, jpeg, rest-binary, "
        "rest-json\n"
    )


def test_beside_a_neighbour_there_is_one_baseline(
    colours: Path, tmp_path: Path, run: Command
) -> None:
    """A busy core is recorded, and the plain session alone is what to compare with."""
    out = tmp_path / "l.json"
    options = ["--clients", 2, "--rounds", 1, "--seconds", 0.1, "--neighbour", "--output", out]
    done = run("crossrun-bench", "load", colours, "--model", "colours", *options)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LoadResult)
    assert result.neighbour
    assert [target.in_process for target in result.targets] == [True, False]
    assert "kept one core busy" in markdown.render(chapters([result]))


def test_errors_are_counted_by_status(request_: Request) -> None:
    """A server that refuses everything: no latencies, and how often it refused and how."""

    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        return b""

    with fake(refuse) as address, generating(request_) as turn:
        found = turn(address)
        gone = turn("127.0.0.1:1")
    assert found["us"] == []
    assert found["errors"].keys() == {"RESOURCE_EXHAUSTED"}
    assert gone["errors"].keys() == {"UNAVAILABLE"}


def test_a_wrong_answer_ends_the_run(request_: Request) -> None:
    """A server that is fast because it does not compute is no server to measure."""
    with (
        fake(lambda *_: b"") as address,
        generating(request_) as turn,
        pytest.raises(BenchError, match="generator: expected an output 'scores', got"),
    ):
        turn(address)


def test_a_server_of_http_is_asked_by_post(request_: Request) -> None:
    """The tensor's bytes go out and the floats come back, over a kept connection."""
    expected, sizes = np.load(request_.expected), set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sizes.add(len(body))
            self.send_response(200 if self.path == "/right" else 503)
            self.send_header("Content-Length", str(expected.nbytes))
            self.end_headers()
            self.wfile.write(expected.tobytes())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server, generating(request_) as turn:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = turn(f"http://127.0.0.1:{server.server_port}/right", clients=1)
        refused = turn(f"http://127.0.0.1:{server.server_port}/wrong", clients=1)
        server.shutdown()
    assert found["us"]
    assert not found["errors"]
    assert sizes == {np.load(request_.pixels).nbytes}
    assert refused["errors"].keys() == {"HTTP 503"}


def test_a_request_that_is_never_answered_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled server can't hide its stall by never ending it."""
    monkeypatch.setattr(counting, "PATIENCE_S", 0.05)
    stalled = threading.Event()
    calls = [lambda: (stalled.wait(), ""), lambda: (None, "")]
    found = loops.closed(calls, 0.01, 0.02)
    stalled.set()
    assert found["errors"] == {"NO_ANSWER": 1}
    assert found["us"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "nothing"], "no model 'nothing'; it holds colours"),
        (["--model", "colours", "--peers", "nginx"], "unknown peer 'nginx': expected some of ml"),
        (["--model", "colours", "--clients", "0"], "--clients '0': expected whole numbers from 1"),
        (["--model", "colours", "--server", "ours"], "--server 'ours': expected NAME=HOST:PORT"),
        (["--model", "colours", "--server", "crossrun=a:1"], "another target is called that"),
    ],
)
def test_a_mistyped_option_is_one_line(
    colours: Path, run: Command, options: list[str], said: str
) -> None:
    """What was wrong and what was expected, before anything is started."""
    done = run("crossrun-bench", "load", colours, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_peer_that_is_not_made_is_told_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment is missing: the command that makes it stands in the error."""
    monkeypatch.setattr(servers, "ENVIRONMENTS", tmp_path)
    with pytest.raises(BenchError, match=r"no environment for triton: make peers PEERS=triton$"):
        servers.chosen_peers(["triton"])


def test_what_is_free_is_what_the_generator_leaves() -> None:
    """Shares, ideals and what is added follow from the values, a callers' count at a time."""
    rows = {(row.target, row.clients): row for row in load_rows(load())}
    one, four = rows["crossrun", 1], rows["crossrun", 4]
    assert one.rate.value == pytest.approx(250)
    assert one.share_of_free
    assert four.share_of_free
    assert four.p99_to_ideal
    assert one.share_of_free.value == pytest.approx(250 / (500 * 0.9))
    assert four.share_of_free.value == pytest.approx(400 / (800 * 0.9))
    assert one.added_p50 == pytest.approx(2.0)
    assert four.added_p50 is None
    assert four.p99_to_ideal.value == pytest.approx(1.0)
    assert one.cpu_ms == pytest.approx(8.0)
    broken = rows["broken", 4]
    assert (broken.latency.p50, broken.cpu_ms, broken.errors) == (None, None, {"UNAVAILABLE": 7})


def test_what_is_written_is_what_is_read_and_shown(tmp_path: Path) -> None:
    """A result of load survives its file, and every form of the report shows it."""
    store.write(tmp_path / "l.json", load())
    read = store.read(tmp_path / "l.json")
    assert read == load()
    text, page = markdown.render(chapters([read])), html.render(chapters([read]))
    assert "of the throughput that is free" in text
    assert f"| broken | 4 | 0.0 | 0 % | {NONE} | {NONE} |" in text
    assert "7 UNAVAILABLE" in text
    plots = page.split('<script type="application/json">')[1].split("</script>")[0]
    names = [trace["name"] for trace in json.loads(plots)["data"]]
    assert names[-2:] == ["broken p50", "broken p99"]


@pytest.mark.parametrize("peer", servers.PEERS)
def test_a_peer_answers_right(peer: str, request_: Request) -> None:
    """Its script serves the same file, and says where."""
    if not servers.has_environment(peer):
        pytest.skip(f"no environment for {peer}; make peers PEERS={peer} makes it")
    command = servers.peer_command(peer, request_.model, sessions=2, threads=1)
    with running(peer, command) as server, generating(request_) as turn:
        found = turn(server.address)
    assert found["us"]
    assert not found["errors"]
