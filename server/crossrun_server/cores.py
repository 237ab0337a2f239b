"""How many cores this process may really use: those of its affinity, and what its cgroup grants."""

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


@cache
def available() -> int:
    """Whole cores, at least one; a quota of 1.5 counts as 2."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([own, *(math.ceil(quota) for quota in _quotas(OWN, CGROUPS))]))


def _quotas(own: Path, root: Path) -> Iterator[float]:
    """Cores that each cgroup from the process's own up to the root grants, where it limits them."""
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
