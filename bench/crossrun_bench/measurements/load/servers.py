"""What a load is put on: sessions in process, our server, the peers, servers that run already."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load.plan import REST, LoadPlan
from crossrun_bench.measurements.tasks import Session
from crossrun_bench.models.model import Model
from crossrun_bench.processes.serving import WITH_HTTP, serve_command
from crossrun_bench.targets.environments import ROOT
from crossrun_bench.targets.targets import label

PEERS = ("mlserver", "kserve", "litserve", "rayserve", "triton")
SCRIPTS, ENVIRONMENTS = ROOT / "bench" / "peers", ROOT / "build" / "peers"
SHORT_SPIN_US = 10
TFSERVING, HTTP = "tfserving://", "http://"


@dataclass(frozen=True)
class Served:
    """A server to measure: the command that starts it, or where it runs already."""

    name: str
    command: Sequence[str] = ()
    address: str = ""
    form: str = "raw"  # of requests, see `forms` and `posting`


def sessions(plan: LoadPlan, model: Model, pixels: str, cores: int) -> list[Session]:
    """One caller on all cores; a caller for each core; and one whose threads soon sleep.

    Beside a neighbour only the first: what a program gets that knows of none.
    """
    wide = Session(model, pixels, threads=cores, callers=1, spin_us=None)
    if plan.neighbour or cores == 1:
        return [wide]
    many = Session(model, pixels, threads=1, callers=cores, spin_us=None)
    return [wide, Session(model, pixels, cores, 1, SHORT_SPIN_US), many]


def servers(plan: LoadPlan, model: Model, cores: int) -> list[Served]:
    """Ours, the peers in both settings that suit some number of clients, and those that run."""
    found = [_ours(plan, form) for form in plan.forms]
    for peer in plan.peers:
        for many, threads in dict.fromkeys([(1, cores), (cores, 1)]):
            started = peer_command(peer, model, sessions=many, threads=threads)
            found.append(Served(f"{peer} {many}x{threads}", started))
    for name, address in plan.servers.items():
        if name in {*map(label, plan.runtimes), *(server.name for server in found)}:
            raise BenchError(f"--server '{name}={address}': another target is called that")
        found.append(_running(name, address))
    return found


def _running(name: str, address: str) -> Served:
    """Of the Open Inference Protocol over gRPC, unless its address says otherwise."""
    if address.startswith(TFSERVING):
        return Served(name, address=address.removeprefix(TFSERVING), form="predict")
    return Served(name, address=address, form=REST[0] if address.startswith(HTTP) else "raw")


def _ours(plan: LoadPlan, form: str) -> Served:
    """With its defaults; shared memory has to be allowed, and HTTP to be on."""
    command = serve_command(plan.models, plan.name)
    if form == "shm":
        command.append("--shared-memory")
    if form in REST:
        command += WITH_HTTP
    return Served("crossrun" if form == "raw" else f"crossrun {form}", command, form=form)


def chosen_peers(names: Iterable[str]) -> tuple[str, ...]:
    """The named peers, each once; all of them for "all".

    Raises:
        BenchError: a peer is unknown, or has no environment yet.
    """
    wanted = tuple(dict.fromkeys(p for n in names for p in (PEERS if n == "all" else (n,))))
    for name in wanted:
        if name not in PEERS:
            raise BenchError(f"unknown peer '{name}': expected some of {', '.join(PEERS)}, or all")
        if not has_environment(name):
            raise BenchError(f"no environment for {name}: make peers PEERS={name}")
    return wanted


def has_environment(peer: str) -> bool:
    """Whether `make peers` has made its environment."""
    return (ENVIRONMENTS / peer / "ready").exists()


def peer_command(peer: str, model: Model, *, sessions: int, threads: int) -> list[str]:
    """What serves the model with so many sessions at once, of so many threads each."""
    started = [str(_python(peer)), str(SCRIPTS / f"{peer}_.py"), model.onnx, "--name", model.name]
    return [*started, "--threads", str(threads), "--sessions", str(sessions)]


def _python(peer: str) -> Path:
    return ENVIRONMENTS / peer / "bin" / "python"
