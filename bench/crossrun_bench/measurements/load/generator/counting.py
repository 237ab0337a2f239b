"""What both loops share: waiting for requests, and counting them and the server's timings."""

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence

# One request: returns its answer and its Server-Timing or "". Raises Failed without an answer.
Call = Callable[[], tuple[object, str]]

PATIENCE_S = 30.0  # for requests that are still under way when the time is over
NO_ANSWER = "NO_ANSWER"
WINDOWS = 3  # of a turn's counted time, to tell whether it was steady
PARTS = ("decode", "queue", "compute")  # of a request's time; servers may report them


class Failed(Exception):  # noqa: N818 - what happened to a request, not to us
    """A request was not answered; the text is the status."""


def still_alive(threads: Sequence[threading.Thread]) -> int:
    """How many threads have not ended after PATIENCE_S."""
    patient_until = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, patient_until - time.monotonic()))
    return sum(thread.is_alive() for thread in threads)


def windows(moments: Iterable[int], begin: int, end: int) -> list[int]:
    """How many moments are in each third of begin ≤ moment < end."""
    counts = [0] * WINDOWS
    for moment in moments:
        if begin <= moment < end:
            counts[(moment - begin) * WINDOWS // (end - begin)] += 1
    return counts


def timings(told: Sequence[str]) -> dict[str, list[int]]:
    """Microseconds of each request in each part; empty unless every request has that part.

    Syntax: https://www.w3.org/TR/server-timing/, durations in milliseconds.
    """
    found: dict[str, list[int]] = {}
    for part in PARTS:
        duration = re.compile(rf"\b{part};dur=([\d.]+)")
        known = [round(1e3 * float(match[1])) for match in map(duration.search, told) if match]
        found[f"{part}_us"] = known if len(known) == len(told) else []
    return found
