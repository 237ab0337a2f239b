"""What a load is put on: sessions in process, our server, the peers, servers that run already."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load import peers
from crossrun_bench.measurements.load.plan import Plan
from crossrun_bench.measurements.tasks import Session
from crossrun_bench.models.model import Model
from crossrun_bench.processes.serving import serve_command
from crossrun_bench.targets.targets import label

SHORT_SPIN_US = 10
TFSERVING = "tfserving://"


@dataclass(frozen=True)
class Served:
    """A server to measure: the command that starts it, or where it runs already."""

    name: str
    command: Sequence[str] = ()
    address: str = ""
    form: str = "raw"  # of requests, see `forms`


def sessions(plan: Plan, model: Model, pixels: str, cores: int) -> list[Session]:
    """One caller on all cores; a caller for each core; and one whose threads soon sleep.

    Beside a neighbour only the first: what a program gets that knows of none.
    """
    wide = Session(model, pixels, threads=cores, callers=1, spin_us=None)
    if plan.neighbour or cores == 1:
        return [wide]
    many = Session(model, pixels, threads=1, callers=cores, spin_us=None)
    return [wide, Session(model, pixels, cores, 1, SHORT_SPIN_US), many]


def servers(plan: Plan, model: Model, cores: int) -> list[Served]:
    """Ours, the peers in both settings that suit some number of clients, and those that run."""
    found = [_ours(plan, form) for form in plan.forms]
    for peer in plan.peers:
        for many, threads in dict.fromkeys([(1, cores), (cores, 1)]):
            started = peers.command(peer, model, sessions=many, threads=threads)
            found.append(Served(f"{peer} {many}x{threads}", started))
    for name, address in plan.servers.items():
        if name in {*map(label, plan.runtimes), *(server.name for server in found)}:
            raise BenchError(f"--server '{name}={address}': another target is called that")
        found.append(_running(name, address))
    return found


def _running(name: str, address: str) -> Served:
    """Of the Open Inference Protocol, unless its address names another."""
    plain = address.removeprefix(TFSERVING)
    return Served(name, address=plain, form="raw" if plain == address else "predict")


def _ours(plan: Plan, form: str) -> Served:
    """With its defaults; shared memory has to be allowed."""
    command = serve_command(plan.models, plan.name)
    if form == "shm":
        command.append("--shared-memory")
    return Served("crossrun" if form == "raw" else f"crossrun {form}", command, form=form)
