"""How much of our cores' time others used while we measured.

Noise is the share of this time that other processes used or a hypervisor stole. It is read from
Linux's counters; on other systems it is unknown. Knows nothing of results.
"""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

from crossrun_bench.errors import BenchError

LIMIT = 0.05  # a result with more noise is marked, and `--require-quiet` refuses it
LOOK_S = 0.5  # counters step by 10 ms: on one core this distinguishes 2 % from 4 %


@dataclass(frozen=True)
class Usage:
    """Counters of the cores that this process may use, in seconds; only differences matter."""

    at: float  # monotonic clock
    cores: int
    busy: float  # user and system time, ours included; without interrupts, which our traffic causes
    steal: float  # time in which a core of ours was ready and the hypervisor ran others
    own: float  # CPU time of this process and of its children that have ended
    preempted: int  # how often the kernel took a core from these processes
    waiting: float | None  # time in which any process waited for a core; null if unreadable


@dataclass(frozen=True)
class Noise:
    """Noise between two moments. `others` and `steal` are shares of our cores' time, 0 to 1."""

    others: float
    steal: float
    waiting: float | None  # share of the time in which a process, maybe ours, waited for a core
    preempted: float  # preemptions of our processes a second

    @property
    def total(self) -> float:
        """The share that `LIMIT` limits."""
        return self.others + self.steal

    @property
    def loud(self) -> bool:
        """Whether figures measured meanwhile are doubtful."""
        return self.total > LIMIT

    def __str__(self) -> str:
        """12 % of the cores, 3 % stolen."""
        return f"{self.others:.0%} of the cores, {self.steal:.0%} stolen".replace("%", " %")


def usage() -> Usage | None:
    """The counters now, or None if unreadable. Only children that have ended count as `own`."""
    cores = _cores()
    if not any(map(any, cores)):  # a sandbox's kernel shows only zeros
        return None
    own = os.times()
    switches = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return Usage(
        at=time.monotonic(),
        cores=len(cores),
        busy=sum(core[0] + core[1] + core[2] for core in cores),
        steal=sum(core[7] for core in cores),
        own=own.user + own.system + own.children_user + own.children_system,
        preempted=sum(resource.getrusage(who).ru_nivcsw for who in switches),
        waiting=_waiting(),
    )


def between(before: Usage | None, after: Usage | None) -> Noise | None:
    """The noise between two moments; None if it is not known."""
    if before is None or after is None or after.at <= before.at:
        return None
    seconds = after.at - before.at
    total = seconds * after.cores
    others = (after.busy - before.busy) - (after.own - before.own)
    return Noise(
        others=min(1.0, max(0.0, others / total)),  # counters step: a little below 0 means 0
        steal=(after.steal - before.steal) / total,
        waiting=_share(before.waiting, after.waiting, seconds),
        preempted=(after.preempted - before.preempted) / seconds,
    )


def _share(before: float | None, after: float | None, seconds: float) -> float | None:
    return None if before is None or after is None else (after - before) / seconds


def expect_quiet() -> None:
    """Look at the machine for half a second.

    Raises:
        BenchError: others use more than the limit, or the noise cannot be read.
    """
    before = usage()
    time.sleep(LOOK_S)
    refuse(between(before, usage()), "before this began")


def refuse(found: Noise | None, when: str) -> None:
    """Raise BenchError unless the machine was quiet."""
    if found is None:
        raise BenchError(
            "--require-quiet: only Linux tells how much others use the cores, and sandboxes do not"
        )
    if found.loud:
        allowed = f"{LIMIT:.0%}".replace("%", " %")
        raise BenchError(
            f"--require-quiet: others used {found}, {when}; expected at most {allowed} in all"
        )


def _cores() -> list[list[float]]:
    """Seconds in each state of /proc/stat, for each core that we may use."""
    try:
        lines = Path("/proc/stat").read_text("ascii").splitlines()
    except OSError:
        return []
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    tick = os.sysconf("SC_CLK_TCK")
    found = [line.split() for line in lines if line.startswith("cpu")]
    return [[int(t) / tick for t in ticks] for name, *ticks in found if name in ours]


def _waiting() -> float | None:
    """Seconds since boot, from /proc/pressure/cpu: `some avg10=… total=MICROSECONDS`."""
    try:
        some = Path("/proc/pressure/cpu").read_text("ascii").splitlines()[0]
    except (OSError, IndexError):
        return None
    return int(some.rpartition("=")[2]) / 1e6
