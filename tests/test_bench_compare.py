"""Comparing two results, on made-up values whose truth is known, through the real command too."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossrun_bench import machine, store
from crossrun_bench.compare.command import Compared, compare
from crossrun_bench.compare.verdicts import APART, condition
from crossrun_bench.errors import BenchError
from crossrun_bench.providers import CPU
from crossrun_bench.results import (
    AccuracyResult,
    Answer,
    Comparison,
    LatencyResult,
    LoadResult,
    LoadTarget,
    LoadTurn,
    MeasuredModel,
    ModelInfo,
    PrecisionResult,
    Precisions,
    Result,
    TargetAnswers,
    TargetLatency,
    Turn,
)
from tests.conftest import Command
from tests.test_bench_throughput import result as throughput

MACHINE = dataclasses.replace(machine.describe(), usage_before=None)
INFO = ModelInfo("m", "1", "0" * 64, {"model": "tiny", "sha256": "1"}, 8, 8, 10)
# How far two runs lie apart if 95 % of pairs are within the default: of one run's logarithm.
RUN_SD = np.log1p(APART / 100) / 1.96 / np.sqrt(2)


def turns(seed: int, effect: float = 1.0, run_sd: float = 0.0, rounds: int = 10) -> list[Turn]:
    """Of 5 ms: 2 % between rounds, 5 % between requests, a request in fifty takes twice as long."""
    rng = np.random.default_rng(seed)
    level = 5e6 * effect * rng.lognormal(0, run_sd)
    found = []
    for number in range(1, rounds + 1):
        ns = level * rng.lognormal(0, 0.02) * rng.lognormal(0, 0.05, 20)
        ns *= np.where(rng.random(20) < 0.02, 2, 1)
        found.append(Turn(1, number, number, 1, (10**12, *ns.astype(int).tolist())))
    return found


def latency(seed: int, effect: float = 1.0, **options: Any) -> LatencyResult:
    target = TargetLatency("onnxruntime", 10**9, 10**8, tuple(turns(seed, effect, **options)))
    return LatencyResult("crossrun-bench latency models", MACHINE, INFO, (target,))


def load(seed: int, effect: float = 1.0, errors: int = 0) -> LoadResult:
    """Five rounds of four clients; a second each."""
    rounds = [
        LoadTurn(
            clients=4,
            round=turn.round,
            wall_ns=sum(turn.ns[1:]) // 4,
            us=tuple(ns // 1000 for ns in turn.ns[1:]),
            errors={"UNAVAILABLE": errors} if errors else {},
            generator_cpu_ns=0,
            server_cpu_ns=0,
            served=20,
            rss_bytes=0,
        )
        for turn in turns(seed, effect, rounds=5)
    ]
    target = LoadTarget("crossrun", False, tuple(rounds))
    return LoadResult("crossrun-bench load models", MACHINE, INFO, False, (target,))


def said(wrong: int, labels: bool = True) -> Comparison:
    """A hundred pictures, of which the second target gets the first `wrong` ones wrong."""
    right = tuple(Answer((n, 1, 2, 3, 4), (1.0,) * 5, 0.0) for n in range(100))
    other = tuple(dataclasses.replace(a, top5=(999, 1, 2, 3, 4)) for a in right[:wrong])
    return Comparison(
        pictures=tuple(f"{n}.png" for n in range(100)),
        labels=tuple(range(100)) if labels else None,
        unlabelled=None if labels else "nobody knows",
        targets=(TargetAnswers("keras-predict", right), TargetAnswers("m", other + right[wrong:])),
    )


def accuracy(wrong: int, labels: bool = True) -> AccuracyResult:
    return AccuracyResult(**vars(said(wrong, labels)), command="c", machine=MACHINE, model=INFO)


def precision(seed: int, wrong: int = 0, effect: float = 1.0) -> PrecisionResult:
    model = MeasuredModel(INFO, 10**6, tuple(turns(seed, effect)))
    return PrecisionResult("c", MACHINE, CPU, (Precisions((model,), said(wrong)),))


def verdicts(before: Result, after: Result, apart: float = APART) -> dict[str, str]:
    compared = compare(before, after, apart=apart, allow_unlike=False)
    return {change.metric.name: change.verdict for change in compared.changes}


@pytest.mark.parametrize("seed", range(8))
def test_a_regression_of_8_percent_is_found(seed: int) -> None:
    """Median and throughput of a target that became 8 % slower are called slower, and back."""
    before, after = latency(seed), latency(seed + 100, 1.08)
    found = verdicts(before, after)
    assert (found["p50"], found["throughput"]) == ("slower", "slower")
    assert verdicts(after, before)["p50"] == "faster"


@pytest.mark.parametrize(("apart", "run_sd"), [(0.0, 0.0), (APART, RUN_SD)])
def test_noise_is_called_a_regression_no_more_often_than_nominal(
    apart: float, run_sd: float
) -> None:
    """Of pairs of runs of the same thing at most one in forty is called slower, per metric.

    So it is within a run alone, and where whole runs lie apart as far as the default allows for.
    """
    pairs = 40
    slower: Counter[str] = Counter()
    for seed in range(pairs):
        before, after = (latency(seed + half, run_sd=run_sd) for half in (0, 1000))
        found = verdicts(before, after, apart)
        slower.update(name for name, verdict in found.items() if verdict == "slower")
    assert all(count <= pairs * 0.025 for count in slower.values()), slower


def test_runs_that_lie_apart_are_called_slower_where_that_is_not_allowed_for() -> None:
    """Without a share between runs their own rounds alone would call noise a difference."""
    pairs = [(latency(n, run_sd=0.05), latency(n + 1000, run_sd=0.05)) for n in range(12)]
    assert sum(verdicts(*pair, apart=0.0)["p50"] != "within noise" for pair in pairs) >= 6


def test_the_change_is_that_of_the_values() -> None:
    """Per cent of what was, without the warm-ups; its interval holds it and the truth."""
    (p50, *_) = compare(latency(1), latency(2, 1.2), apart=0, allow_unlike=False).changes
    assert p50.before == pytest.approx(5, rel=0.05)
    assert p50.value == pytest.approx(100 * (p50.after / p50.before - 1))
    assert p50.low is not None
    assert p50.high is not None
    assert p50.low < p50.value < p50.high
    assert p50.low < 20 < p50.high


def test_a_rare_stall_moves_p99_alone() -> None:
    """What makes one request in thirty slow is seen where it is."""
    before = latency(1)
    (target,) = before.targets
    slow = [dataclasses.replace(t, ns=(*t.ns[:-1], 50_000_000)) for t in target.turns]
    after = dataclasses.replace(before, targets=(dataclasses.replace(target, turns=tuple(slow)),))
    found = verdicts(before, after)
    assert (found["p50"], found["p99"]) == ("within noise", "slower")


def test_few_rounds_have_no_verdict() -> None:
    """Four rounds tell nothing of noise, and no condition is judged by them."""
    few = latency(1, rounds=4)
    assert set(verdicts(few, latency(2, 1.5)).values()) == {"too few rounds"}
    compared = compare(few, latency(2, 1.5), apart=APART, allow_unlike=False)
    with pytest.raises(BenchError, match="onnxruntime, batch 1: expected at least 5 rounds"):
        compared.broken(condition("p50 > +5%"))


def test_load_is_compared_by_number_of_clients() -> None:
    """Latency and throughput of each server; requests that failed are told."""
    compared = compare(load(1), load(2, 1.3), apart=APART, allow_unlike=False)
    assert {(c.target, c.setting) for c in compared.changes} == {("crossrun", "4 clients")}
    assert {c.metric.name: c.verdict for c in compared.changes}["throughput"] == "slower"


def test_precisions_are_compared_by_model_in_speed_and_answers() -> None:
    """A model that became slower and worse is called both."""
    found = verdicts(precision(1), precision(2, wrong=20, effect=1.3))
    assert (found["p50"], found["top1"], found["agreement"]) == ("slower", "worse", "worse")


def test_answers_are_paired_by_picture() -> None:
    """One picture in a hundred may be chance, twenty are not, and the same answers are the same."""
    assert verdicts(accuracy(0), accuracy(20))["top1"] == "worse"
    assert verdicts(accuracy(20), accuracy(0))["agreement"] == "better"
    assert set(verdicts(accuracy(0), accuracy(1)).values()) == {"within noise"}
    assert set(verdicts(accuracy(20), accuracy(20)).values()) == {"within noise"}


def test_without_labels_agreement_is_compared_alone() -> None:
    """Top-1 needs labels, so that a condition on it has nothing to judge by."""
    compared = compare(accuracy(0, False), accuracy(3, False), apart=APART, allow_unlike=False)
    assert [change.metric.name for change in compared.changes] == ["agreement"]
    with pytest.raises(BenchError, match="hold nothing like it"):
        compared.broken(condition("top1 < -1 points"))


def test_different_pictures_are_not_compared() -> None:
    """Answers pair up by picture or not at all."""
    other = dataclasses.replace(accuracy(0), pictures=tuple(f"x{n}.png" for n in range(100)))
    with pytest.raises(BenchError, match="different pictures"):
        verdicts(accuracy(0), other)


def on(**facts: Any) -> Callable[[LatencyResult], LatencyResult]:
    """The same result on a machine that differs."""
    return lambda r: dataclasses.replace(r, machine=dataclasses.replace(r.machine, **facts))


def of(**facts: Any) -> Callable[[LatencyResult], LatencyResult]:
    """The same result of a model that differs."""
    return lambda r: dataclasses.replace(r, model=dataclasses.replace(r.model, **facts))


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (on(cpu="Another CPU"), "CPU"),
        (on(cores=64.0), "cores"),
        (on(flags=("avx2",)), "instructions"),
        (on(memory_bytes=2**50), "memory"),
        (on(governor="powersave"), "governor"),
        (on(container="other"), "container"),
        (on(os="Debian, Linux 2.6.32"), "kernel"),
        (of(name="n"), "model"),
        (of(source={"model": "tiny", "sha256": "2"}), "source"),
        (of(height=9), "source"),
    ],
)
def test_what_is_not_alike_is_refused_by_name_unless_allowed(
    other: Callable[[LatencyResult], LatencyResult], name: str
) -> None:
    """Machines and models have to be alike; allowed, the difference is kept to be shown."""
    before = on(governor="performance")(latency(1))
    with pytest.raises(BenchError, match=rf"not alike, see --allow-unlike: {name}: .* and "):
        compare(before, other(before), apart=APART, allow_unlike=False)
    compared = compare(before, other(before), apart=APART, allow_unlike=True)
    assert [difference[0] for difference in compared.unlike] == [name]


@pytest.mark.parametrize(
    "other",
    [
        on(versions={"onnxruntime": "99"}),
        on(commit="another"),
        on(governor=None),  # not known is not different
        on(flags=None),
        on(memory_bytes=int(MACHINE.memory_bytes * 0.97)),
        of(sha256="f" * 64),
        of(version="2"),
    ],
)
def test_what_comparing_is_for_may_differ(
    other: Callable[[LatencyResult], LatencyResult],
) -> None:
    """Versions, commits and files of the model are no reason to refuse."""
    before = on(governor="performance", versions={"onnxruntime": "1"}, commit="one")(latency(1))
    assert compare(before, other(before), apart=APART, allow_unlike=False).unlike == []


def test_different_kinds_are_refused() -> None:
    """Latency and load have nothing in common."""
    with pytest.raises(BenchError, match="results of 'latency' with those of 'load'"):
        compare(latency(1), load(1), apart=APART, allow_unlike=True)


def test_nothing_in_common_is_an_error() -> None:
    """Two files of different targets are no comparison without changes."""
    (target,) = latency(1).targets
    other = dataclasses.replace(target, target="grpc-raw")
    with pytest.raises(BenchError, match="share no target"):
        compared(latency(1), dataclasses.replace(latency(1), targets=(other,)))


def compared(before: Result, after: Result) -> Compared:
    return compare(before, after, apart=APART, allow_unlike=False)


@pytest.mark.parametrize(
    ("text", "target", "metric", "limit"),
    [
        ("p99 > +5%", None, "p99", 5.0),
        ("p50>+2.5%", None, "p50", 2.5),
        ("throughput < -5 %", None, "throughput", -5.0),
        ("top1 < -0.5 points", None, "top1", -0.5),
        ("agreement < -1 point", None, "agreement", -1.0),
        ("mlserver 1x2: p90 > +5%", "mlserver 1x2", "p90", 5.0),
    ],
)
def test_a_condition_is_read(text: str, target: str | None, metric: str, limit: float) -> None:
    """A metric, a limit in its unit, and perhaps a target."""
    found = condition(text)
    assert (found.target, found.metric.name, found.limit) == (target, metric, limit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"expected \[TARGET:\] METRIC > \+N%"),
        ("p99", r"expected \[TARGET:\] METRIC > \+N%"),
        ("p95 > +5%", "unknown metric 'p95', expected one of p50, p90, p99, throughput, top1"),
        ("p99 < -5%", "p99 gets worse as 'p99 >"),
        ("throughput > +5%", "throughput gets worse as 'throughput <"),
        ("p99 > 5%", r"expected a limit such as \+5, got '5'"),
        ("p99 > +%", r"expected a limit such as \+5, got '\+'"),
        ("throughput < +5%", "expected a limit such as -5"),
        ("p99 > +5 points", "expected the limit of p99 in %"),
        ("top1 < -1%", "expected the limit of top1 in points"),
        ("p99 > +5", "expected the limit of p99 in %"),
    ],
)
def test_a_mistyped_condition_says_what_was_expected(text: str, expected: str) -> None:
    """Each mistake has its own words."""
    with pytest.raises(ValueError, match=expected):
        condition(text)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Results: the first, a repetition, one 20 % slower, another machine's, a damaged one."""
    found = {name: tmp_path / f"{name}.json" for name in ("a", "same", "slow", "far", "broken")}
    store.write(found["a"], latency(1))
    store.write(found["same"], latency(2))
    store.write(found["slow"], latency(3, 1.2))
    store.write(found["far"], on(cpu="Another CPU")(latency(2)))
    found["broken"].write_text(found["a"].read_text()[:1000])
    return found


@pytest.mark.parametrize(
    ("after", "text", "fails"),
    [
        (latency(3, 1.2), "p50 > +5%", True),
        (latency(3, 1.2), "throughput < -5%", True),
        (latency(3, 1.2), "onnxruntime: p50 > +5%", True),
        (latency(3, 1.2), "p50 > +90%", False),  # slower, but not by so much
        (latency(4), "p50 > +1%", False),  # over the limit by 0.4, which is noise
        (latency(3, 0.5), "p50 > +0%", False),  # faster
        (latency(3, 0.5), "throughput < -0%", False),
    ],
)
def test_a_condition_is_broken_by_what_is_over_its_limit_and_no_noise(
    after: Result, text: str, fails: bool
) -> None:
    """Both are needed, and a change for the better breaks nothing."""
    assert bool(compared(latency(1), after).broken(condition(text))) is fails


def test_a_condition_on_a_target_that_is_not_there_is_an_error() -> None:
    """A mistyped target would never fail."""
    with pytest.raises(BenchError, match="these results hold nothing like it"):
        compared(latency(1), latency(2)).broken(condition("grpc-raw: p50 > +5%"))


@pytest.mark.parametrize(
    ("after", "condition", "status"),
    [
        ("slow", "p50 > +5%", 1),
        ("same", "p50 > +5%", 0),
        ("slow", "p50 > 5%", 2),
        ("far", "p50 > +5%", 1),
        ("broken", "p50 > +5%", 1),
    ],
)
def test_the_exit_status_is_a_gate(
    after: str, condition: str, status: int, files: dict[str, Path], run: Command
) -> None:
    """0 where the condition holds, 1 where it is broken or cannot be judged, 2 for mistyping."""
    done = run("crossrun-bench", "compare", files["a"], files[after], "--fail-if", condition)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_shown_can_be_pasted_into_a_pull_request(
    files: dict[str, Path], run: Command, tmp_path: Path
) -> None:
    """As a table, as Markdown in a file, and as Markdown alone on stdout."""
    command = ["compare", files["a"], files["slow"], "--fail-if", "p50 > +5%", "--markdown"]
    shown = run("crossrun-bench", *command, tmp_path / "c.md")
    assert "slower" in shown.stdout
    text = (tmp_path / "c.md").read_text()
    assert "| ONNX Runtime | batch 1 | p50 |" in text
    assert "| p50 > +5% | broken | ONNX Runtime, batch 1: +" in text
    assert run("crossrun-bench", *command, "-").stdout == text


def test_what_was_allowed_stands_above_the_figures(files: dict[str, Path], run: Command) -> None:
    """Unlike machines are a warning that names the difference."""
    done = run("crossrun-bench", "compare", files["a"], files["far"], "--allow-unlike")
    assert done.returncode == 0
    assert done.stdout.startswith("Warning: Not alike, as --allow-unlike allows: CPU:")


def test_errors_of_a_server_are_a_warning(tmp_path: Path, run: Command) -> None:
    """A server that refuses requests is not called faster without a word."""
    store.write(tmp_path / "a.json", load(1))
    store.write(tmp_path / "b.json", load(2, errors=3))
    done = run("crossrun-bench", "compare", tmp_path / "a.json", tmp_path / "b.json")
    assert (
        "B: Requests that ended in an error, and are in no figure: 15 of crossrun." in done.stdout
    )


def test_open_loops_are_compared_by_their_rate() -> None:
    """Each rate stands for itself; what only looked for the highest one is left out."""
    result = load(1)
    (target,) = result.targets
    rates = [dataclasses.replace(t, clients=0, rate=50.0) for t in target.turns]
    probes = [dataclasses.replace(t, clients=0, rate=60.0, probe=True) for t in target.turns]
    turns = (*target.turns, *rates, *probes)
    both = dataclasses.replace(result, targets=(dataclasses.replace(target, turns=turns),))
    found = compare(both, both, apart=5.0, allow_unlike=False).changes
    assert list(dict.fromkeys(change.setting for change in found)) == ["4 clients", "50/s"]


def test_what_is_not_compared_yet_is_said() -> None:
    """Throughput has neither targets nor clients."""
    with pytest.raises(BenchError, match="results of 'throughput' cannot be compared yet"):
        compared(throughput(), throughput())
