"""Comparing multiples of one target: what the machine did cancels, what a target did stays."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from crossrun_bench import store
from crossrun_bench.compare.command import compare
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.turns import Turn
from tests.support.measured import latency, load, turns
from tests.support.running import Command

BASE = "onnxruntime"


def both(seed: int, host: float = 1.0, effect: float = 1.0) -> LatencyResult:
    """Two targets on a host whose speed drifts by 10 % from round to round, the same for both."""
    drift = host * np.random.default_rng(seed).lognormal(0, 0.1, 10)
    pairs = ((BASE, turns(seed)), ("grpc-raw", turns(seed + 500, 1.6 * effect)))
    targets = [TargetLatency(name, 1, 1, tuple(map(slowed, own, drift))) for name, own in pairs]
    return dataclasses.replace(latency(1), targets=tuple(targets))


def slowed(turn: Turn, factor: float) -> Turn:
    return dataclasses.replace(turn, ns=tuple(int(ns * factor) for ns in turn.ns))


def verdicts(
    before: LatencyResult, after: LatencyResult, reference: str | None, apart: float = 1
) -> dict[str, str]:
    found = compare(before, after, apart=apart, allow_unlike=False, reference=reference).changes
    return {change.metric.name: change.verdict for change in found if change.target == "grpc-raw"}


@pytest.mark.parametrize("seed", range(4))
def test_a_host_that_became_faster_is_no_difference(seed: int) -> None:
    """A third faster, both targets: in milliseconds a difference, in multiples none."""
    before, after = both(seed), both(seed + 100, host=0.74)
    assert verdicts(before, after, None)["p50"] == "faster"
    assert verdicts(before, after, BASE)["p50"] == "within noise"


@pytest.mark.parametrize("seed", range(4))
def test_a_regression_is_found_on_a_host_that_became_faster(seed: int) -> None:
    """One of 12 %, which milliseconds hide, and call faster."""
    before, after = both(seed), both(seed + 100, host=0.74, effect=1.12)
    assert verdicts(before, after, None)["p50"] == "faster"
    assert verdicts(before, after, BASE)["p50"] == "slower"


def test_noise_is_called_a_difference_no_more_often_than_nominal() -> None:
    """Of sixty pairs whose hosts were of any speed three, or six where chance adds two errors."""
    called: Counter[str] = Counter()
    for seed in range(60):
        host = float(np.random.default_rng(seed).lognormal(0, 0.2))
        found = verdicts(both(seed), both(seed + 1000, host), BASE, apart=0)
        called.update(name for name, verdict in found.items() if verdict != "within noise")
    assert all(count <= 6 for count in called.values()), called


def test_figures_are_multiples_and_the_reference_stands_beside() -> None:
    """1.6 times as long, a rate of 1 by 1.6; milliseconds of the reference in what differs."""
    found = compare(both(1), both(2, host=2.0), apart=1, allow_unlike=False, reference=BASE)
    assert {change.target for change in found.changes} == {"grpc-raw"}
    values = {change.metric.name: change.before for change in found.changes}
    assert values["p50"] == pytest.approx(1.6, rel=0.05)
    assert values["throughput"] == pytest.approx(1 / 1.6, rel=0.05)
    ((_, before, after),) = [pair for pair in found.differing if pair[0].startswith(BASE)]
    assert float(after.split()[0]) == pytest.approx(2 * float(before.split()[0]), rel=0.15)


def test_only_rounds_of_both_are_paired() -> None:
    """Where the reference lacks a round the target's is left out, not held against another."""
    before = both(1)
    base, served = before.targets
    kept = tuple(turn for turn in base.turns if turn.round != 3)
    odd = [slowed(turn, 50) if turn.round == 3 else turn for turn in served.turns]
    targets = (dataclasses.replace(base, turns=kept), dataclasses.replace(served, turns=tuple(odd)))
    lacking = dataclasses.replace(before, targets=targets)
    found = compare(before, lacking, apart=1, allow_unlike=False, reference=BASE).changes
    assert all(change.verdict == "within noise" for change in found)


def test_a_reference_of_one_setting_serves_for_all() -> None:
    """In process there are as many callers as cores, whatever the number of clients."""
    result = load(1)
    (target,) = result.targets
    alone = [dataclasses.replace(turn, clients=2) for turn in target.turns]
    process = dataclasses.replace(target, target="in process 2x1", turns=tuple(alone))
    both_targets: LoadResult = dataclasses.replace(result, targets=(process, target))
    found = compare(
        both_targets, both_targets, apart=1, allow_unlike=False, reference="in process 2x1"
    ).changes
    assert found[-1].target == "crossrun"
    assert found[-1].before == pytest.approx(1)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("onnx", "--relative-to 'onnx': expected one of onnxruntime, grpc-raw"),
        (BASE, "--relative-to 'onnxruntime': it was not measured at batch 8"),
    ],
)
def test_a_reference_that_is_none_is_told(reference: str, told: str) -> None:
    """By its name, and with those there are."""
    result = both(1)
    base, served = result.targets
    more = tuple(dataclasses.replace(turn, batch=size) for size in (1, 8) for turn in served.turns)
    twice = tuple(dataclasses.replace(turn, batch=size) for size in (1, 2) for turn in base.turns)
    targets = (dataclasses.replace(base, turns=twice), dataclasses.replace(served, turns=more))
    odd = dataclasses.replace(result, targets=targets)
    with pytest.raises(BenchError, match=told):
        compare(odd, odd, apart=1, allow_unlike=False, reference=reference)


def test_the_command_compares_multiples(tmp_path: Path, run: Command) -> None:
    """From two files to a table, and to an exit status."""
    for name, result in (("a", both(1)), ("b", both(2, host=0.7, effect=1.3))):
        store.write(tmp_path / f"{name}.json", result)
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    condition = ("--fail-if", "grpc-raw:p50 > +5%")
    assert run("crossrun-bench", "compare", *files, *condition).returncode == 0
    done = run("crossrun-bench", "compare", *files, "--relative-to", BASE, *condition)
    assert done.returncode == 1, done.stderr
    assert "in multiples of ONNX Runtime" in done.stdout
    assert re.search(r"p50 +1\.\d\d. +2\.\d\d. ", done.stdout)
    assert "onnxruntime, batch 1, p50" in done.stdout
