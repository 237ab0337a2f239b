"""Whether two results may be compared: what has to be alike, and what else differs.

What makes the same program faster or slower has to be alike: processor, cores, instructions,
memory, governor, container, kernel of the same major version. Versions of packages, the
distribution and the model's file may differ: comparing them is the purpose.
"""

from crossrun_bench.compare.side import Side
from crossrun_bench.view.series import Facts

MEMORY = 0.1  # sizes of memory this much apart are alike: what a kernel reserves differs
Pair = tuple[str, str, str]  # a name, and what it is before and after


def unlike(before: Side, after: Side) -> list[Pair]:
    """What has to be alike and is not, or only one of the files tells."""
    found = _different(_fixed(before), _fixed(after), "not known")
    machines = before.result.machine, after.result.machine
    return found + _memory(*(machine.memory_bytes for machine in machines))


def differing(before: Side, after: Side) -> list[Pair]:
    """What else differs, and may. Facts that a file does not hold are not counted."""
    return _different(_free(before), _free(after))


def _different(before: Facts, after: Facts, unknown: str | None = None) -> list[Pair]:
    """Facts that differ; an unknown fact counts as `unknown`, or is left out if that is None."""
    pairs = [(name, before[name] or unknown, after.get(name) or unknown) for name in before]
    return [(name, a, b) for name, a, b in pairs if a is not None and b is not None and a != b]


def _memory(before: int, after: int) -> list[Pair]:
    if abs(before - after) <= MEMORY * max(before, after):
        return []
    return [("memory", f"{before / 2**30:.1f} GiB", f"{after / 2**30:.1f} GiB")]


def _fixed(side: Side) -> Facts:
    machine = side.result.machine
    return {
        "CPU": machine.cpu,
        "cores": f"{machine.cores:g} of {machine.cores_total}",
        "instructions": None if machine.flags is None else " ".join(machine.flags) or "none",
        "governor": machine.governor,
        "container": machine.container,
        "kernel": _kernel(machine.os),
        **side.told.facts,
    }


def _free(side: Side) -> Facts:
    machine = side.result.machine
    facts: dict[str, str | None] = {"system": machine.os}
    for model in side.told.models:
        facts[f"file of {model.name}"] = f"version {model.version}, sha256 {model.sha256[:12]}…"
        facts[f"precision of {model.name}"] = model.precision
    return {**facts, **machine.versions, "commit": machine.commit, "time": machine.time}


def _kernel(system: str) -> str:
    """Linux 6, of "Debian GNU/Linux 12, Linux 6.18.44"."""
    return system.rpartition(", ")[2].partition(".")[0]
