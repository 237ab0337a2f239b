"""Which targets are measured: those that are asked for, if they can run the model."""

import re
from collections.abc import Iterable, Sequence

from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model
from crossrun_bench.models.original import CALLED, KERAS
from crossrun_bench.targets.targets import COMPARED, REFERENCES, TARGETS, Target

_ADDRESS = re.compile(r"\S+:\d+")


def chosen(names: Iterable[str], server: str | None = None) -> tuple[str, ...]:
    """The named targets, each once, in the order given.

    Raises:
        BenchError: a name is unknown, or `server`, the address of a running server, is missing or
            not needed.
    """
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in TARGETS:
            raise BenchError(f"unknown target '{name}': expected some of {', '.join(TARGETS)}")
    if not wanted:
        raise BenchError(f"no targets: expected some of {', '.join(TARGETS)}")
    _check_address(server, [name for name in wanted if TARGETS[name].remote])
    return wanted


def _check_address(server: str | None, remote: Sequence[str]) -> None:
    if server is None and remote:
        raise BenchError(f"{remote[0]} is a running server: expected --server HOST:PORT")
    if server is not None and not remote:
        some = ", ".join(target.name for target in TARGETS.values() if target.remote)
        raise BenchError(f"--server '{server}': needs one of the targets {some}")
    if server is not None and not _ADDRESS.fullmatch(server):
        raise BenchError(f"--server '{server}': expected HOST:PORT")


def reference(model: Model) -> str:
    """The target that runs the model's original as it is."""
    return REFERENCES[model.original.runtime]


def timed(model: Model) -> str:
    """What latency times if nothing else is asked for."""
    function = ",tf-function" if model.original.runtime == KERAS else ""
    return f"{reference(model)}{function},{COMPARED}"


def check_runs(name: str, model: Model) -> None:
    """Refuse a target that cannot run a model.

    Raises:
        BenchError: it cannot; the error names those that can.
    """
    target = TARGETS[name]
    if why := _unfit(target, model):
        some = ", ".join(other.name for other in TARGETS.values() if not _unfit(other, model))
        raise BenchError(f"{name} {why}: expected some of {some}")


def _unfit(target: Target, model: Model) -> str:
    """Why a target cannot run a model; empty if it can."""
    if model.detector and not target.detector:
        return "runs no detector"
    if target.originals and model.original.runtime not in target.originals:
        whose = " or ".join(CALLED[runtime] for runtime in target.originals)
        own = f"{model.name} was made from {CALLED[model.original.runtime]}"
        return f"runs {whose}, and {own}"
    return ""
