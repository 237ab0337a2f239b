"""Plans that were found once, kept on disk: by model, providers, processor, cores and onnxruntime.

A plan that cannot be kept is measured again at the next load; that is all that is lost.
"""

import fcntl
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from crossrun_server import disk_cache
from crossrun_server.errors import LoadError
from crossrun_server.plans import lane_plan
from crossrun_server.plans.lane_plan import Plan

KIND = "plans"
PROCESSOR = Path("/proc/cpuinfo")


def key(model: Path, *circumstances: object) -> str:
    """Name what a plan holds for: this model on this processor in these circumstances."""
    return disk_cache.key(model, _processor(), *circumstances)


def read(key: str) -> Plan | None:
    """Find a plan; None where there is none, or none that can be read."""
    try:
        return lane_plan.parse((disk_cache.read(KIND, key) or "").strip())
    except LoadError:
        return None


def write(key: str, found: Plan) -> None:
    """Keep a plan, whole or not at all."""
    disk_cache.write(KIND, key, f"{found}\n")


@contextmanager
def measuring() -> Iterator[None]:
    """Let one process at a time measure: two that did at once would find each other's plans."""
    with ExitStack() as stack:
        with suppress(OSError):  # where there is no room for a lock nobody waits
            file = disk_cache.folder(KIND) / "lock"
            file.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(file.open("w")), fcntl.LOCK_EX)
        yield


def _processor() -> str:
    try:
        lines = PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
