"""The plan of a model: its lanes, the widest first, each with its places and threads.

A wide lane has many threads for one request, which is answered soonest. A narrow lane has few
threads for each of many requests, so less time is lost on threads that wait for each other.
Knows no onnxruntime and no scheduler.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from crossrun_server.errors import LoadError

AUTO = "auto"
_LANE = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})(?:@(0|[1-9]\d{0,5})us)?")
_BATCH = re.compile(r"batch=([1-9]\d{0,3})")


class LaneSpec(NamedTuple):
    """One lane: its requests at once, the threads of each, and how long these stay awake."""

    places: int
    threads: int
    spin: int | None = None  # microseconds; None for the session's default

    def __str__(self) -> str:
        spin = "" if self.spin is None else f"@{self.spin}us"
        return f"{self.places}x{self.threads}{spin}"


@dataclass(frozen=True)
class Plan:
    """How a model runs on the cores there are."""

    lanes: tuple[LaneSpec, ...]
    batch: int = 1  # rows that waiting requests are merged to, if the policy names no number

    def __str__(self) -> str:
        return ",".join(map(str, self.lanes)) + (f",batch={self.batch}" if self.batch > 1 else "")


def parse(text: str) -> Plan:
    """Read a plan from text, such as 1x2@10us,2x1 or 4x1,batch=8, which `str` of a plan returns.

    Raises:
        LoadError: the text is not a plan.
    """
    *words, last = (word.strip() for word in text.split(","))
    batch = _BATCH.fullmatch(last)
    lanes = [_LANE.fullmatch(word) for word in (words if batch else (*words, last))]
    found = tuple(_lane(lane) for lane in lanes if lane)
    if not lanes or len(found) < len(lanes):
        raise LoadError(
            f"parameters 'plan' is {text!r}, expected auto, or lanes as PLACESxTHREADS, perhaps "
            "with @MICROSECONDSus to spin, such as 1x2@10us,2x1, and perhaps batch=ROWS"
        )
    lanes_in_order = tuple(sorted(found, key=lambda lane: -lane.threads))
    return Plan(lanes_in_order, int(batch[1]) if batch else 1)


def _lane(found: re.Match[str]) -> LaneSpec:
    places, threads, spin = found.groups()
    return LaneSpec(int(places), int(threads), None if spin is None else int(spin))
