"""Where batches run: the places of all lanes, and the cores that they share.

Knows no requests. Not safe for several threads: the scheduler guards it with its lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_server.scheduling.batching import Run


@dataclass(frozen=True)
class Lane:
    """A run, how many batches it runs at once, and how many cores each of them takes."""

    run: Run
    places: int = 1
    cores: int = 1


@dataclass(eq=False)
class Place:
    """Where one batch at a time runs, on whatever thread."""

    run: Run
    cores: int


class Places:
    """The places of all lanes.

    Args:
        lanes: what runs batches.
        cores: how many cores all places together may take; 0 for those of all lanes.
    """

    def __init__(self, lanes: Sequence[Lane], cores: int = 0) -> None:
        self._all = [Place(lane.run, lane.cores) for lane in lanes for _ in range(lane.places)]
        self._idle = list(self._all)
        self._cores = self._free_cores = cores or sum(place.cores for place in self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def all_idle(self) -> bool:
        """Whether nothing runs."""
        return len(self._idle) == len(self._all)

    def choose(self, waiting: int) -> Place | None:
        """Return the widest idle place that leaves cores for all requests, or the narrowest one."""
        fitting = [place for place in reversed(self._idle) if place.cores <= self._free_cores]
        roomy = [place for place in fitting if place.cores * waiting <= self._free_cores]
        if roomy:
            return max(roomy, key=lambda place: place.cores)
        return min(fitting, key=lambda place: place.cores, default=None)

    def room_for(self, place: Place) -> int:
        """Return how many places of this width the free cores are enough for."""
        return self._free_cores // place.cores

    def share(self, place: Place) -> float:
        """Return which part of all cores a place takes, 0 to 1."""
        return place.cores / self._cores

    def take(self, place: Place) -> None:
        """Mark a place as busy."""
        self._idle.remove(place)
        self._free_cores -= place.cores

    def release(self, place: Place) -> None:
        """Mark a place as idle; it is chosen again first, while its caches are warm."""
        self._idle.append(place)
        self._free_cores += place.cores
