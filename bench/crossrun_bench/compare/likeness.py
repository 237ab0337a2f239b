"""Whether two results may be compared: what has to be alike, and what else differs.

What makes the same program faster or slower has to be alike: processor, cores, instructions,
memory, governor, container, kernel of the same major version. Versions of packages, the
distribution and the model's file may differ, for to compare them is what comparing is for.
"""

from collections.abc import Iterable

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.kinds import Result, kind
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.loadgen.result import LoadGenResult
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.measurements.throughput.result import ThroughputResult
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.providers import Provider
from crossrun_bench.targets.exactness import has_choice

Facts = dict[str, str | None]  # None: not known

COMPARABLE = (
    LatencyResult,
    AccuracyResult,
    PrecisionResult,
    LoadResult,
    ThroughputResult,
    LoadGenResult,
)
MEMORY = 0.1  # sizes of memory this much apart are alike: what a kernel reserves differs
Pair = tuple[str, str, str]  # a name, and what it is before and after


def check_kinds(before: Result, after: Result) -> None:
    """BenchError for results of different commands, or of one that is not compared."""
    kinds = kind(before), kind(after)
    if not isinstance(before, COMPARABLE):
        raise BenchError(f"results of '{kinds[0]}' cannot be compared yet")
    if kinds[0] != kinds[1]:
        raise BenchError(f"cannot compare results of '{kinds[0]}' with those of '{kinds[1]}'")


def unlike(before: Result, after: Result) -> list[Pair]:
    """What has to be alike and is not, or only one of the files tells."""
    found = _different(_fixed(before), _fixed(after), "not known")
    return found + _memory(before.machine.memory_bytes, after.machine.memory_bytes)


def differing(before: Result, after: Result) -> list[Pair]:
    """What else differs, and may; what one of the files does not tell is not counted."""
    return _different(_free(before), _free(after))


def _different(before: Facts, after: Facts, unknown: str | None = None) -> list[Pair]:
    """What is not the same; where it is not known, it is `unknown`, or None to leave it out."""
    pairs = [(name, before[name] or unknown, after.get(name) or unknown) for name in before]
    return [(name, a, b) for name, a, b in pairs if a is not None and b is not None and a != b]


def _memory(before: int, after: int) -> list[Pair]:
    if abs(before - after) <= MEMORY * max(before, after):
        return []
    return [("memory", f"{before / 2**30:.1f} GiB", f"{after / 2**30:.1f} GiB")]


def _fixed(result: Result) -> Facts:
    machine = result.machine
    facts: Facts = {
        "CPU": machine.cpu,
        "cores": f"{machine.cores:g} of {machine.cores_total}",
        "instructions": None if machine.flags is None else " ".join(machine.flags) or "none",
        "governor": machine.governor,
        "container": machine.container,
        "kernel": _kernel(machine.os),
    }
    if isinstance(result, PrecisionResult):
        facts["provider"] = str(result.provider)
        facts |= _told([result.provider])
        return facts | {f"source of {m.name}": _source(m) for m in _models(result)}
    if isinstance(result, LatencyResult):
        facts |= _told([target.provider for target in result.targets])
    if isinstance(result, LoadResult):
        facts["neighbour"] = "a busy core" if result.neighbour else "none"
    if isinstance(result, ThroughputResult):
        facts["cards"] = ", ".join(result.cards) or "none"
    return facts | {"model": result.model.name, "source": _source(result.model)}


def _told(providers: Iterable[Provider | None]) -> Facts:
    """What each provider with a choice was told to compute fp32 in; before, none was told."""
    return {
        f"fp32 of {one.label}": one.precision or "left to the provider"
        for one in providers
        if one and has_choice(one.name)
    }


def _free(result: Result) -> Facts:
    facts: Facts = {"system": result.machine.os}
    for model in _models(result):
        facts[f"file of {model.name}"] = f"version {model.version}, sha256 {model.sha256[:12]}…"
        facts[f"precision of {model.name}"] = model.precision
    return {
        **facts,
        **result.machine.versions,
        "commit": result.machine.commit,
        "time": result.machine.time,
    }


def _models(result: Result) -> list[ModelInfo]:
    if isinstance(result, PrecisionResult):
        return [measured.model for source in result.sources for measured in source.models]
    return [result.model]


def _source(model: ModelInfo) -> str:
    """What the model was made from, and what it takes and gives."""
    made = ", ".join(f"{key} {value}" for key, value in sorted(model.source.items()))
    return f"{made}, {model.height} × {model.width}, {model.classes} classes"  # noqa: RUF001


def _kernel(system: str) -> str:
    """Linux 6, of "Debian GNU/Linux 12, Linux 6.18.44"."""
    return system.rpartition(", ")[2].partition(".")[0]
