"""The machine on which something is measured, and what its processes use. Knows Linux best."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

from crossrun_bench.distribution import NAME
from crossrun_bench.machine.container import container
from crossrun_bench.machine.noise import Noise, Usage, between, usage

# The version is that of the first distribution in a row that is installed.
_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "keras": ("keras",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "openvino": ("openvino",),
    "litert": ("ai-edge-litert",),
    "numpy": ("numpy",),
    "grpcio": ("grpcio",),
    "loadgen": ("mlcommons-loadgen",),
    "crossrun": (NAME,),
}
# Instructions by which kernels for fp32, bf16 and int8 are chosen, with Linux's names.
_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",  # Arm's, as those that follow
    "i8mm",
    "bf16",
    "sve",
)


@dataclass(frozen=True)
class Machine:
    """Hardware, software and state. Loads are 1-minute load averages.

    Older results lack the fields that have a default.
    """

    cpu: str
    cores: float  # see `cores`
    cores_total: int
    memory_bytes: int
    governor: str | None  # of the CPU's frequency, if it can be read
    os: str
    versions: dict[str, str]
    commit: str | None  # of the checkout that was used to measure
    time: str  # UTC, ISO 8601
    load_before: float
    load_after: float
    flags: tuple[str, ...] | None = None  # those of _FLAGS that the CPU has; null if unreadable
    memory_available_bytes: int | None = None  # before measuring
    container: str | None = None  # its kind, or "none"
    usage_before: Usage | None = None
    usage_after: Usage | None = None

    @property
    def noise(self) -> Noise | None:
        """What others did meanwhile; None if that is not known."""
        return between(self.usage_before, self.usage_after)


def describe() -> Machine:
    """Describe the machine now; `finished` adds what is known after measuring."""
    load, memory = os.getloadavg()[0], psutil.virtual_memory()
    return Machine(
        cpu=_cpu(),
        cores=cores(),
        cores_total=os.cpu_count() or 1,
        memory_bytes=memory.total,
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        os=_os(),
        versions=_versions(),
        commit=_commit(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        load_before=load,
        load_after=load,
        flags=_flags(),
        memory_available_bytes=memory.available,
        container=container(),
        usage_before=usage(),
    )


def finished(machine: Machine) -> Machine:
    """The same machine after measuring. All children must have ended."""
    return replace(machine, load_after=os.getloadavg()[0], usage_after=usage())


def cores() -> float:
    """How many cores this process may use, by its affinity and its cgroup's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    if quota == "max":
        return float(allowed or 1)
    return min(float(allowed or 1), int(quota) / int(period))


def peak_rss(pid: int) -> int:
    """The largest resident memory of a living process so far, in bytes.

    It is Linux's VmHWM; getrusage would start from the memory of the process that forked. On other
    systems it is the memory now.
    """
    for line in (_read(f"/proc/{pid}/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)


def cpu_ns(pid: int) -> int:
    """The CPU time of a living process and its descendants so far, in nanoseconds."""
    return sum(cpu for cpu, _ in _tree(pid))


def rss(pid: int) -> int:
    """The resident memory of the same processes, in bytes; shared memory counts in each."""
    return sum(memory for _, memory in _tree(pid))


def _tree(pid: int) -> Iterator[tuple[int, int]]:
    """CPU time in nanoseconds and resident bytes of each process that still lives."""
    try:
        found = [psutil.Process(pid)]
        found += found[0].children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in found:
        with suppress(psutil.NoSuchProcess):  # ended meanwhile
            times = process.cpu_times()
            yield int(1e9 * (times.user + times.system)), process.memory_info().rss


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


def _flags() -> tuple[str, ...] | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        name, _, found = line.partition(":")
        if name.strip() in {"flags", "Features"}:  # x86's, Arm's
            return tuple(flag for flag in _FLAGS if flag in found.split())
    return None


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
