"""Made-up results whose truth is known, to compare."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from crossrun_bench.compare.command import Compared, compare
from crossrun_bench.compare.verdicts import APART
from crossrun_bench.machine import machine
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.comparison import Answer, Comparison, TargetAnswers
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn
from crossrun_bench.measurements.precision.result import MeasuredModel, PrecisionResult, Precisions
from crossrun_bench.measurements.result import Result
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.providers import CPU

MACHINE = dataclasses.replace(machine.describe(), usage_before=None)
INFO = ModelInfo("m", "1", "0" * 64, {"model": "tiny", "sha256": "1"}, 8, 8, 10)


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


def on(**facts: Any) -> Callable[[LatencyResult], LatencyResult]:
    """The same result on a machine that differs."""
    return lambda r: dataclasses.replace(r, machine=dataclasses.replace(r.machine, **facts))


def of(**facts: Any) -> Callable[[LatencyResult], LatencyResult]:
    """The same result of a model that differs."""
    return lambda r: dataclasses.replace(r, model=dataclasses.replace(r.model, **facts))


def compared(before: Result, after: Result) -> Compared:
    return compare(before, after, apart=APART, allow_unlike=False)


def verdicts(before: Result, after: Result, apart: float = APART) -> dict[str, str]:
    compared = compare(before, after, apart=apart, allow_unlike=False)
    return {change.metric.name: change.verdict for change in compared.changes}
