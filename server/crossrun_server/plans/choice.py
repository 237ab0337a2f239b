"""The choice among several providers of a model: what was found of each, told and kept.

Knows providers by name only.
"""

import json
import time
from dataclasses import dataclass
from typing import NamedTuple

from crossrun_server import disk_cache

KIND = "fastest"  # of the entries in the disk cache
IN_DOUBT = "-in-doubt"  # at the end of an entry's name


class Standing(NamedTuple):
    """What was found of one provider."""

    provider: str  # onnxruntime's name
    plan: str = ""  # of its lanes; empty if it has instances
    seconds: float | None = None  # for one request, median; None if it was not measured
    rate: float | None = None  # rows per second, with all its places or instances at once
    off_by: str = ""  # how far its answers are from the original's; empty if nobody knows
    refusal: str = ""  # why it cannot be taken; empty if it can

    def __str__(self) -> str:
        if self.seconds is None:
            return f"not {self.provider}: {self.refusal}"
        plan = f", plan {self.plan}" if self.plan else ""
        return f"{self.provider}{plan}, in {milliseconds(self.seconds)}"


@dataclass(frozen=True)
class Choice:
    """Which provider was taken, and what was found of each."""

    chosen: str
    standings: tuple[Standing, ...]  # the chosen one first
    doubt: str = ""  # why it is not kept; empty if it is

    @property
    def others(self) -> dict[str, str]:
        """Why each other provider was not taken, by name."""
        return {
            one.provider: one.refusal or self._slower(one)
            for one in self.standings
            if one.provider != self.chosen
        }

    def __str__(self) -> str:
        return "one request on " + "; ".join(map(str, self.standings))

    def _slower(self, other: Standing) -> str:
        own, best = other.seconds or 0.0, self.standings[0].seconds or 0.0
        noise = ", within noise" if own <= best else ""
        took = f"one request took {milliseconds(own)}, on {self.chosen} {milliseconds(best)}"
        return took + noise


def milliseconds(seconds: float) -> str:
    """Return a time as people read it."""
    return f"{1e3 * seconds:.2f} ms"


def read(key: str, began: float) -> Choice | None:
    """Read the choice that was kept under a key; None if there is none that can be read.

    Args:
        key: of the file and the circumstances.
        began: when the reader began to want it, in seconds of time.time. A choice in doubt is only
            for those who waited while it was measured, so that they and the one who measured agree.
    """
    for name in (key, key + IN_DOUBT):
        try:
            chosen, standings, doubt, measured = json.loads(disk_cache.read(KIND, name) or "")
            if not doubt or measured >= began:
                return Choice(str(chosen), tuple(Standing(*one) for one in standings), str(doubt))
        except (ValueError, TypeError):
            continue
    return None


def write(key: str, choice: Choice) -> None:
    """Keep a choice for the next load; one in doubt only for those who wait for it now."""
    text = json.dumps([choice.chosen, choice.standings, choice.doubt, time.time()])
    disk_cache.write(KIND, key + IN_DOUBT if choice.doubt else key, text)
