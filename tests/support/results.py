"""Made-up results of measurements, to write, read and report."""

import numpy as np

from crossrun_bench.machine import machine
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.comparison import Answer, TargetAnswers
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.models.info import ModelInfo

MACHINE = machine.describe()
INFO = ModelInfo("m", "1", "0" * 64, {"model": "tiny"}, 8, 8, 10)
MILLISECONDS = {"keras-predict": 80.0, "tf-function": 20.0, "onnxruntime": 8.0}


def latency(milliseconds: dict[str, float] | None = None, noise: float = 0.02) -> LatencyResult:
    rng = np.random.default_rng(3)
    targets = tuple(
        TargetLatency(name, 2_000_000_000, 500_000_000, turns(ms, rng, noise))
        for name, ms in (milliseconds or MILLISECONDS).items()
    )
    return LatencyResult("crossrun-bench latency models", MACHINE, INFO, targets)


def turns(ms: float, rng: np.random.Generator, noise: float) -> tuple[Turn, ...]:
    """Eight rounds at two batch sizes; the warm-ups are absurdly slow."""
    return tuple(
        Turn(batch, n, n, 1, (10**12, *(int(batch * ms * 1e6 * rng.lognormal(0, noise)),) * 5))
        for batch in (1, 8)
        for n in range(1, 9)
    )


def accuracy(labels: tuple[int, ...] | None = (0, 1, 2, 3)) -> AccuracyResult:
    """Four pictures: the second target is right about three, and agrees on three."""
    kind = [Answer((n, 9, 8, 7, 6), (0.6, 0.1, 0.1, 0.1, 0.1), 0.0) for n in range(4)]
    other = [*kind[:3], Answer((9, 3, 8, 7, 6), (0.5, 0.4, 0.1, 0.0, 0.0), 0.25)]
    targets = (
        TargetAnswers("keras-predict", tuple(kind)),
        TargetAnswers("onnxruntime", tuple(other)),
    )
    names = tuple(f"{n}.png" for n in range(4))
    why = None if labels else "nobody <knows>"
    return AccuracyResult(
        command="cmd",
        machine=MACHINE,
        model=INFO,
        pictures=names,
        labels=labels,
        unlabelled=why,
        targets=targets,
    )
