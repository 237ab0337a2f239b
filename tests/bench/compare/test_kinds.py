"""What is compared in each kind of result."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossrun_bench.compare.command import compare
from crossrun_bench.compare.verdicts import APART, condition
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun
from crossrun_bench.measurements.throughput.result import (
    AloneTurn,
    ProviderThroughput,
    ServedTurn,
    ThroughputResult,
)
from crossrun_bench.report import comparison
from tests.support.measured import (
    INFO,
    MACHINE,
    accuracy,
    compared,
    latency,
    load,
    precision,
    verdicts,
)


def test_load_is_compared_by_number_of_clients() -> None:
    """Latency and throughput of each server; requests that failed are told."""
    compared = compare(load(1), load(2, 1.3), apart=APART, allow_unlike=False)
    assert {(c.target, c.setting) for c in compared.changes} == {("crossrun", "4 clients")}
    assert {c.metric.name: c.verdict for c in compared.changes}["throughput"] == "slower"


def test_open_loops_are_compared_by_their_rate() -> None:
    """Each rate stands for itself; what only looked for the highest one is left out."""
    result = load(1)
    (target,) = result.targets
    rates = [replace(t, clients=0, rate=50.0) for t in target.turns]
    probes = [replace(t, clients=0, rate=60.0, probe=True) for t in target.turns]
    turns = (*target.turns, *rates, *probes)
    both = replace(result, targets=(replace(target, turns=turns),))
    found = compare(both, both, apart=5.0, allow_unlike=False).changes
    assert list(dict.fromkeys(change.setting for change in found)) == ["4 clients", "50/s"]


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
    other = replace(accuracy(0), pictures=tuple(f"x{n}.png" for n in range(100)))
    with pytest.raises(BenchError, match="different pictures"):
        verdicts(accuracy(0), other)


def throughput(
    effect: float = 1.0, rounds: int = 5, cards: tuple[str, ...] = ()
) -> ThroughputResult:
    """Two callers, and our server: 400 rows a second each, 1 % of noise between rounds."""
    rng = np.random.default_rng(int(100 * effect))
    levels = [effect * rng.lognormal(0, 0.01) for _ in range(rounds)]
    alone = tuple(
        AloneTurn("plain", 8, 2, 1, n, (int(40e6 * level),) * 30) for n, level in enumerate(levels)
    )
    served = tuple(
        ServedTurn(8, 8, n, 10**9, int(50 / level), {}, 0, 0, 10**9, 400, 50)
        for n, level in enumerate(levels)
    )
    found = ProviderThroughput("cpu", None, 32, alone, served, ())
    return ThroughputResult("crossrun-bench throughput", MACHINE, cards, INFO, (found,))


def test_throughput_is_compared_by_provider_way_and_batch() -> None:
    """In process in latency too; our server's answers were only counted."""
    found = compared(throughput(), throughput(1.2)).changes
    rows = {(c.target, c.setting, c.metric.name): c for c in found}
    assert [key[:2] for key in rows][-1] == ("cpu served", "batch 8")
    assert len(rows) == 4 + 1
    alone = rows["cpu plain 2x1", "batch 8", "throughput"]
    assert alone.before == pytest.approx(400, rel=0.03)
    assert alone.verdict == rows["cpu served", "batch 8", "throughput"].verdict == "slower"
    assert set(verdicts(throughput(), throughput(1.01)).values()) == {"within noise"}


def test_throughput_is_compared_in_rounds_of_one_placement() -> None:
    """Where a host had put the cores elsewhere in all rounds of both, nothing is compared."""

    def at(ns: int) -> ThroughputResult:
        result = throughput()
        (found,) = result.providers
        alone = tuple(replace(turn, core_to_core_ns=ns) for turn in found.alone)
        served = tuple(replace(turn, core_to_core_ns=ns) for turn in found.served)
        return replace(result, providers=(replace(found, alone=alone, served=served),))

    assert set(verdicts(at(220), at(240)).values()) == {"within noise"}
    with pytest.raises(BenchError, match="a host had put the cores elsewhere"):
        verdicts(at(220), at(460))


def test_throughput_of_other_cards_or_of_few_rounds_has_no_verdict() -> None:
    """A card is part of the machine, and two rounds tell nothing of noise."""
    with pytest.raises(BenchError, match=r"not alike.*cards: none and A card, 1\.2"):
        compared(throughput(), throughput(cards=("A card, 1.2",)))
    few = throughput(rounds=2)
    assert set(verdicts(few, few).values()) == {"too few rounds"}


def loadgen(latency_ns: int, wrong: int = 0, valid: bool = True) -> LoadGenResult:
    """SingleStream, and Offline with a hundred pictures of which it gets `wrong` ones wrong."""
    classes = (999,) * wrong + tuple(range(wrong, 100))
    runs = (
        ScenarioRun("SingleStream", valid, (), "", 64, 64, latency_ns, None, None),
        ScenarioRun("Offline", True, (), "", 1, 100, None, 400.0, None, classes),
    )
    labels = tuple(range(100))
    return LoadGenResult("c", MACHINE, INFO, "onnxruntime", 5.0, labels, None, 0, runs)


def test_loadgen_is_compared_by_scenario_without_a_verdict_on_speed() -> None:
    """One run tells nothing of noise; answers are paired by picture."""
    found = compared(loadgen(2_000_000), loadgen(3_000_000, wrong=20)).changes
    assert [(c.setting, c.metric.name, c.verdict) for c in found] == [
        ("SingleStream", "p90", "too few rounds"),
        ("Offline", "throughput", "too few rounds"),
        ("Offline", "top1", "worse"),
    ]
    assert (found[0].before, found[0].after) == (2.0, 3.0)
    assert found[0].value == pytest.approx(50.0)


def test_of_different_targets_loadgen_tells_nothing() -> None:
    """In process and served are not the same thing."""
    with pytest.raises(BenchError, match="nothing to compare"):
        compared(loadgen(1), replace(loadgen(1), target="grpc-raw"))


def test_what_loadgen_called_invalid_is_a_warning() -> None:
    """A run that broke LoadGen's rules is not compared without a word."""
    both = compared(loadgen(2_000_000), loadgen(1_000_000, valid=False))
    (changes, *_) = comparison.tables(both, {}, ("a", "b"))
    assert "B: LoadGen calls invalid: SingleStream." in changes.warnings


def test_a_condition_on_what_one_file_lacks_is_not_held() -> None:
    """A target, a setting, labels or answers in one file alone leave nothing to judge by."""
    one = latency(1)
    (target,) = one.targets
    two = replace(one, targets=(target, replace(target, target="grpc-raw")))
    eight = [replace(turn, batch=8) for turn in target.turns]
    more = replace(one, targets=(replace(target, turns=(*target.turns, *eight)),))
    for before, after, told in (
        (two, one, "grpc-raw, batch 1: only A tells its p99"),
        (one, two, "grpc-raw, batch 1: only B tells its p99"),
        (more, one, "onnxruntime, batch 8: only A tells its p99"),
    ):
        with pytest.raises(BenchError, match=rf"^--fail-if 'p99 > \+5%': {told}$"):
            compared(before, after).broken(condition("p99 > +5%"))
    assert compared(two, one).broken(condition("onnxruntime: p99 > +5%")) == []


def test_a_condition_on_answers_that_one_file_lacks_is_not_held() -> None:
    """Of two models, one was not asked in the later file; of scenarios, one was not run."""
    both = accuracy(0)
    another = replace(both.targets[1], target="openvino")
    before = replace(both, targets=(*both.targets, another))
    with pytest.raises(BenchError, match="openvino, 100 pictures: only A tells its agreement"):
        compared(before, both).broken(condition("agreement < -1 points"))
    runs = loadgen(1).runs
    without = replace(loadgen(1), runs=(replace(runs[0], classes=runs[1].classes), runs[1]))
    with pytest.raises(BenchError, match="onnxruntime, SingleStream: only A tells its top1"):
        compared(without, loadgen(1)).broken(condition("top1 < -1 points"))


def test_a_condition_is_not_held_by_requests_that_failed() -> None:
    """What failed is in no figure, and makes the others look fast."""
    failing = compared(load(1), load(1, errors=3))
    with pytest.raises(BenchError, match="crossrun: 15 requests of B failed, and are in no figure"):
        failing.broken(condition("p99 > +5%"))
    assert compared(load(1, errors=3), load(1)).broken(condition("p99 > +5%")) == []


def test_a_change_that_is_no_number_holds_no_condition() -> None:
    """A NaN is neither over a limit nor under it."""
    both = compared(latency(1), latency(2))
    for field in ("value", "low", "high"):
        nan: dict[str, Any] = {field: np.nan}
        broken = replace(both, changes=[replace(change, **nan) for change in both.changes])
        with pytest.raises(BenchError, match="onnxruntime, batch 1: the change is no number"):
            broken.broken(condition("p99 > +5%"))
