"""Measured plans, kept on disk by model, providers, processor, cores and onnxruntime.

A plan that cannot be kept is measured again at the next load.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from crossrun_server import disk_cache
from crossrun_server.errors import LoadError
from crossrun_server.plans import lane_plan
from crossrun_server.plans.lane_plan import Plan

KIND = "plans"


def key(model: Path, *circumstances: object) -> str:
    """Return a key for this model, on this processor, in these circumstances."""
    return disk_cache.key(model, disk_cache.processor(), *circumstances)


def read(key: str) -> Plan | None:
    """Read a plan; None if there is none that can be read."""
    try:
        return lane_plan.parse((disk_cache.read(KIND, key) or "").strip())
    except LoadError:
        return None


def write(key: str, plan: Plan) -> None:
    """Keep a plan, whole or not at all."""
    disk_cache.write(KIND, key, f"{plan}\n")


@contextmanager
def measuring(what: str = KIND) -> Iterator[None]:
    """Let one process measure at a time: two at once would disturb each other.

    Who measures something that plans are a part of holds another lock around this one.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # without a lock file nobody waits
            file = disk_cache.folder(what) / "lock"
            file.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(file.open("w")), fcntl.LOCK_EX)
        yield
