"""The cores that this process may really use, and how long its threads wait for one."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")

WAITED = Path("/proc/thread-self/schedstat")
_FIRST = count(os.getpid())  # other processes begin elsewhere


@cache
def granted() -> float:
    """Return the cores of this process's affinity, or of its cgroup if these are fewer."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([own, *_quotas(OWN, CGROUPS)])


def available() -> int:
    """Return the number of whole cores, at least one; a quota of 1.5 counts as 2."""
    return max(1, math.ceil(granted()))


def bindable(threads: int) -> tuple[int, ...]:
    """Return the cores that so many threads may be bound to, one each, if these are all there are.

    They begin with another core each time, since the first thread of a lane has the most to do.
    Empty if there are more or fewer cores, or if this system binds no threads.
    """
    own = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if threads < 2 or threads != len(own):
        return ()
    first = next(_FIRST) % threads
    return (*own[first:], *own[:first])


@contextmanager
def bound(core: int) -> Iterator[None]:
    """Bind this thread to a core until the block ends, if it may run there."""
    own = os.sched_getaffinity(0)
    if core not in own:
        yield
        return
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def waited() -> float:
    """Return the seconds that the calling thread has waited for a core; 0 outside Linux."""
    try:
        return int(WAITED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _quotas(own: Path, root: Path) -> Iterator[float]:
    """Yield the cores of each cgroup that limits them, from the process's own up to the root."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if not controllers:  # version 2
            yield from _limits(root, path, "cpu.max", None)
        elif "cpu" in controllers.split(","):
            yield from _limits(root / "cpu", path, "cpu.cfs_quota_us", "cpu.cfs_period_us")


def _limits(root: Path, path: str, quota: str, period: str | None) -> Iterator[float]:
    for folder in (root / path.lstrip("/"), *(root / path.lstrip("/")).parents):
        try:
            words = (folder / quota).read_text().split()
            words += (folder / period).read_text().split() if period else []
        except OSError:
            words = []
        if len(words) == 2 and words[0].isdecimal():  # "max" and -1 are no limits
            yield int(words[0]) / int(words[1])
        if folder == root:
            return
