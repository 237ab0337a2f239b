"""The machine that a figure was measured on, without which it says little. Knows Linux best."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first distribution of each row that is installed gives its version.
_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "keras": ("keras",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "numpy": ("numpy",),
    "grpcio": ("grpcio",),
    "loadgen": ("mlcommons-loadgen",),
    "crossrun": ("crossrun",),
}


@dataclass(frozen=True)
class Machine:
    """Hardware, software and state. Loads are the 1-minute load average."""

    cpu: str
    cores: float  # that this process may use: affinity, and the cgroup's quota
    cores_total: int
    memory_bytes: int
    governor: str | None  # of the CPU's frequency, where it can be read
    os: str
    versions: dict[str, str]
    commit: str | None  # of the checkout that measured
    time: str  # UTC, ISO 8601
    load_before: float
    load_after: float


def describe() -> Machine:
    """The machine now; `load_after` is filled in by `finished`."""
    load = os.getloadavg()[0]
    return Machine(
        cpu=_cpu(),
        cores=_cores(),
        cores_total=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        os=_os(),
        versions=_versions(),
        commit=_commit(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        load_before=load,
        load_after=load,
    )


def finished(machine: Machine) -> Machine:
    """The same machine with the load as it is at the end of the measurement."""
    return replace(machine, load_after=os.getloadavg()[0])


def peak_rss(pid: int) -> int:
    """Largest resident memory of a living process so far, in bytes.

    Linux's VmHWM; getrusage's figure would begin at the memory of the process that forked.
    Elsewhere the memory now.
    """
    for line in (_read(f"/proc/{pid}/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)


def cpu_ns(pid: int) -> int:
    """CPU time of a living process, of its children and of theirs so far, in nanoseconds."""
    return sum(cpu for cpu, _ in _tree(pid))


def rss(pid: int) -> int:
    """Resident memory of the same processes, in bytes; what they share counts in each."""
    return sum(memory for _, memory in _tree(pid))


def _tree(pid: int) -> Iterator[tuple[int, int]]:
    """CPU time in nanoseconds and resident bytes of each that still lives."""
    try:
        found = [psutil.Process(pid)]
        found += found[0].children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in found:
        with suppress(psutil.NoSuchProcess):  # ended meanwhile
            times = process.cpu_times()
            yield int(1e9 * (times.user + times.system)), process.memory_info().rss


def lacks_vnni() -> bool:
    """Whether this is an x86 CPU without instructions for int8; no where that cannot be read."""
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return x86 and "vnni" not in (_read("/proc/cpuinfo") or "vnni")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError:
        return None


def _cpu() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> float:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if quota == "max":
        return float(allowed or 1)
    return min(float(allowed or 1), int(quota) / int(period))


def _os() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name, distributions in _PACKAGES.items():
        for distribution in distributions:
            try:
                found[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def _commit() -> str | None:
    here = Path(__file__)
    try:
        _git(here, "ls-files", "--error-unmatch", here.name)
        return _git(here, "describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(file: Path, *arguments: str) -> str:
    command = ["git", "-C", str(file.parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
