"""Made-up turns under load: closed and open, and a result of them."""

import dataclasses

from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn, Objective
from tests.support.results import INFO, MACHINE

CLOSED = LoadTurn(4, 1, 10**9, (10_000,) * 400, {}, 0, None, 400, None, windows=(133, 133, 134))
OPEN = dataclasses.replace(CLOSED, clients=0, rate=400.0, ended=CLOSED.windows)
WANTED = Objective(50.0, 10_000.0)
TOLD = dataclasses.replace(
    OPEN, us=(10_000,) * 4000, queue_us=(1_000,) * 4000, compute_us=(3_000,) * 4000
)


def load(*turns: LoadTurn) -> LoadResult:
    targets = (LoadTarget("crossrun", False, (CLOSED, *turns)),)
    return LoadResult("crossrun-bench load", MACHINE, INFO, False, targets, "poisson", WANTED)
