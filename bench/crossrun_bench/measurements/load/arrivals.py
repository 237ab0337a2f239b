"""When the requests of an open loop are to be sent. Knows no clock and no server."""

import math
from collections.abc import Sequence

import numpy as np

from crossrun_bench.errors import BenchError

KINDS = ("poisson", "constant")


def checked(kind: str) -> str:
    """The kind, if there is one of that name.

    Raises:
        BenchError: there is none.
    """
    if kind not in KINDS:
        raise BenchError(f"--arrivals '{kind}': expected {' or '.join(KINDS)}")
    return kind


def rates(words: Sequence[str]) -> tuple[float, ...]:
    """Requests a second, each rate once.

    Raises:
        BenchError: a word is not a positive number.
    """
    for word in words:
        if not word.replace(".", "", 1).isdecimal() or not float(word):
            raise BenchError(f"--rate '{word}': expected requests a second, such as 50,100,200")
    return tuple(dict.fromkeys(map(float, words)))


def schedule(kind: str, rate: float, seconds: float, seed: int) -> list[int]:
    """Nanoseconds from the beginning, in order, for `rate` requests a second over `seconds`.

    "poisson": gaps are exponential, as of many clients that know nothing of each other, and the
    same for the same seed. "constant": all gaps are equal.
    """
    count = math.ceil(round(rate * seconds, 6))
    if kind == "constant":
        return [int(number * 1e9 / rate) for number in range(count)]
    random, last = np.random.default_rng(seed), 0.0
    moments: list[float] = []
    while last < seconds:
        moments += (last + np.cumsum(random.exponential(1 / rate, count + 1))).tolist()
        last = moments[-1]
    return [int(1e9 * moment) for moment in moments if moment < seconds]
