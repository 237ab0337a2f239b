"""Comparing two results, on made-up values whose truth is known: what is noise, what is alike."""

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from crossrun_bench.compare.command import compare
from crossrun_bench.compare.verdicts import APART, condition
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.latency.result import LatencyResult
from tests.support.measured import MACHINE, compared, latency, load, of, on, verdicts

# How far two runs lie apart if 95 % of pairs are within the default: of one run's logarithm.
RUN_SD = np.log1p(APART / 100) / 1.96 / np.sqrt(2)


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


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (on(cpu="Another CPU"), "CPU"),
        (on(cores=64.0), "cores"),
        (on(flags=("of another",)), "instructions"),
        (on(memory_bytes=2**50), "memory"),
        (on(governor="powersave"), "governor"),
        (on(governor=None), "governor"),  # not known is not the same
        (on(flags=None), "instructions"),
        (on(container=None), "container"),
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


def test_what_neither_file_knows_is_no_difference() -> None:
    """A virtual machine has no governor to tell of, and neither has the next."""
    before, after = (on(governor=None)(latency(seed)) for seed in (1, 2))
    assert compared(before, after).unlike == []


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
