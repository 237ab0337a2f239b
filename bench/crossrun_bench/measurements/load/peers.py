"""Other servers to measure beside ours: scripts of bench/peers, each with its own environment."""

from collections.abc import Iterable
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model
from crossrun_bench.targets.environments import ROOT

PEERS = ("mlserver", "kserve", "litserve", "rayserve", "triton")
SCRIPTS, ENVIRONMENTS = ROOT / "bench" / "peers", ROOT / "build" / "peers"


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The named peers, each once, or "all"; BenchError for an unknown one, or one not made yet."""
    wanted = tuple(dict.fromkeys(p for n in names for p in (PEERS if n == "all" else (n,))))
    for name in wanted:
        if name not in PEERS:
            raise BenchError(f"unknown peer '{name}': expected some of {', '.join(PEERS)}, or all")
        if not made(name):
            raise BenchError(f"no environment for {name}: make peers PEERS={name}")
    return wanted


def made(peer: str) -> bool:
    """Whether `make peers` has made its environment."""
    return (ENVIRONMENTS / peer / "ready").exists()


def command(peer: str, model: Model, *, sessions: int, threads: int) -> list[str]:
    """What serves the model with so many sessions at once, of so many threads each."""
    started = [str(_python(peer)), str(SCRIPTS / f"{peer}_.py"), model.onnx, "--name", model.name]
    return [*started, "--threads", str(threads), "--sessions", str(sessions)]


def _python(peer: str) -> Path:
    return ENVIRONMENTS / peer / "bin" / "python"
