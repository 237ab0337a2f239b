"""Whether a turn was in a steady state while it was counted. Knows turns, not servers.

The rule is perf_analyzer's (https://github.com/triton-inference-server/perf_analyzer, "Measurement
Modes"): over three windows, throughput and latency each within 10 % of their mean. In an open loop
throughput is what is due, random as that may be: there each window's answers are compared with the
window's requests.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from crossrun_bench.measurements.load.result import LoadTurn

WITHIN = 0.1


def settled(turn: LoadTurn) -> bool:
    """Whether throughput and median latency stayed; yes where an older file does not tell."""
    if not turn.windows or not turn.us:
        return True
    if not all(turn.windows):
        return False
    cuts = pairwise(accumulate(turn.windows, initial=0))
    medians = [float(np.median(turn.us[begin:end])) for begin, end in cuts]
    return _level(_throughputs(turn)) and _level(medians)


def _throughputs(turn: LoadTurn) -> Sequence[float]:
    if turn.rate is None:
        return turn.windows
    return [ended / due for ended, due in zip(turn.ended, turn.windows, strict=True)]


def _level(values: Sequence[float]) -> bool:
    middle = sum(values) / len(values)
    return all(abs(value - middle) <= WITHIN * middle for value in values)
