"""`crossrun-bench load`: servers under closed-loop load, ours and others, beside onnxruntime alone.

Turns are interleaved, A B C A B C; a server is started for its turn and stopped after it.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrun_bench import machine, peers
from crossrun_bench.errors import BenchError
from crossrun_bench.load_tasks import Request, Session
from crossrun_bench.piped import piped
from crossrun_bench.prepare import drawn
from crossrun_bench.progress import bar
from crossrun_bench.repository import read_model
from crossrun_bench.results import LoadResult, LoadTarget, LoadTurn, about
from crossrun_bench.serving import running, serve_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crossrun_bench.model import Model
    from crossrun_bench.piped import Piped

    Turns = dict[str, list[LoadTurn]]
    Alone = Sequence[tuple[Session, Piped]]

WARM_S = 0.5  # before a turn is counted, or half of the turn where that is shorter
SHORT_SPIN_US = 10
# One core, until the process that started it is gone.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


@dataclass(frozen=True)
class Plan:
    """What to measure: a model, how many clients at once, which servers beside ours."""

    models: Path
    name: str
    clients: Sequence[int]
    rounds: int
    seconds: float  # a turn
    peers: Sequence[str]
    servers: dict[str, str]  # address of each server that runs already, by name
    neighbour: bool

    @property
    def warm(self) -> float:
        """Seconds before a turn is counted."""
        return min(WARM_S, self.seconds / 2)


@dataclass(frozen=True)
class Served:
    """A server to measure: the command that starts it, or where it runs already."""

    name: str
    command: Sequence[str] = ()
    address: str = ""


def measure(plan: Plan, command: str) -> LoadResult:
    """Measure all targets with each number of clients, in interleaved rounds.

    BenchError where anything cannot be read or started, or where a server answers wrong.
    """
    model = read_model(plan.models, plan.name)
    before = machine.describe()
    cores = max(1, math.floor(before.cores))
    servers = _servers(plan, model, cores)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pixels = drawn(folder, 1, model.height, model.width).pixels
        sessions = _sessions(plan, model, pixels, cores)
        alone = [(s, stack.enter_context(_told("inprocess", str(s), s))) for s in sessions]
        request = Request(model, pixels, str(folder / "expected.npy"))
        alone[0][1].ask(do="answer", output=request.expected)
        generator = stack.enter_context(_told("generator", "generator", request))
        if plan.neighbour:
            stack.enter_context(_neighbour())
        turns = _rounds(plan, alone, servers, generator)
    measured = [LoadTarget(str(s), True, tuple(turns[str(s)])) for s in sessions]
    measured += [LoadTarget(s.name, False, tuple(turns[s.name])) for s in servers]
    return LoadResult(
        command, machine.finished(before), about(model), plan.neighbour, tuple(measured)
    )


def _sessions(plan: Plan, model: Model, pixels: str, cores: int) -> list[Session]:
    """One caller on all cores; a caller for each core; and one whose threads soon sleep.

    Beside a neighbour only the first: what a program gets that knows of none.
    """
    wide = Session(model, pixels, threads=cores, callers=1, spin_us=None)
    if plan.neighbour or cores == 1:
        return [wide]
    many = Session(model, pixels, threads=1, callers=cores, spin_us=None)
    return [wide, Session(model, pixels, cores, 1, SHORT_SPIN_US), many]


def _servers(plan: Plan, model: Model, cores: int) -> list[Served]:
    """Ours, the peers in both settings that suit some number of clients, and those that run."""
    found = [Served("crossrun", serve_command(plan.models))]
    for peer in plan.peers:
        for sessions, threads in dict.fromkeys([(1, cores), (cores, 1)]):
            started = peers.command(peer, model, sessions=sessions, threads=threads)
            found.append(Served(f"{peer} {sessions}x{threads}", started))
    for name, address in plan.servers.items():
        if name in {server.name for server in found}:
            raise BenchError(f"--server '{name}={address}': another target is called that")
        found.append(Served(name, address=address))
    return found


@contextmanager
def _told(module: str, name: str, task: Any) -> Iterator[Piped]:
    with piped(module, name) as child:
        child.say(**asdict(task))
        yield child


@contextmanager
def _neighbour() -> Iterator[None]:
    """Another process that wants one core all the time."""
    with subprocess.Popen([sys.executable, "-c", _BUSY]) as busy:
        try:
            yield
        finally:
            busy.kill()


def _rounds(plan: Plan, alone: Alone, servers: Sequence[Served], generator: Piped) -> Turns:
    turns: Turns = defaultdict(list)
    with bar(plan.rounds * (len(alone) + len(servers) * len(plan.clients))) as step:
        for number in range(1, plan.rounds + 1):
            for name, turn in _round(plan, alone, servers, generator, number):
                turns[name].append(turn)
                step(f"round {number}: {name}")
    return turns


def _round(
    plan: Plan, alone: Alone, servers: Sequence[Served], generator: Piped, number: int
) -> Iterator[tuple[str, LoadTurn]]:
    """One turn of each session, then of each server with each number of clients."""
    for session, child in alone:
        yield str(session), _alone(plan, session, child, number)
    for server in servers:
        for turn in _served(plan, server, generator, number):
            yield server.name, turn


def _alone(plan: Plan, session: Session, child: Piped, number: int) -> LoadTurn:
    found = child.ask(do="turn", warm=plan.warm, seconds=plan.seconds)
    # What it takes within the counted time goes to what is answered within it.
    found["served"] = len(found["us"])
    cpu, rss = found["cpu_ns"], found["rss_bytes"]
    return _turn(found | {"cpu_ns": 0}, session.callers, number, cpu, rss)


def _served(plan: Plan, server: Served, generator: Piped, number: int) -> Iterator[LoadTurn]:
    with ExitStack() as stack:
        address, pid = server.address, None
        if server.command:
            started = stack.enter_context(running(server.name, server.command))
            address, pid = started.address, started.pid
        for clients in plan.clients:
            before = machine.cpu_ns(pid) if pid else 0
            found = _asked(plan, server, generator, address, clients)
            cpu = max(0, machine.cpu_ns(pid) - before) if pid else None
            yield _turn(found, clients, number, cpu, machine.rss(pid) if pid else None)


def _asked(
    plan: Plan, server: Served, generator: Piped, address: str, clients: int
) -> dict[str, Any]:
    asking = replace(generator, name=server.name)  # an error is about the server
    return asking.ask(
        do="turn", address=address, clients=clients, warm=plan.warm, seconds=plan.seconds
    )


def _turn(
    found: dict[str, Any], clients: int, number: int, cpu: int | None, rss: int | None
) -> LoadTurn:
    return LoadTurn(
        clients=clients,
        round=number,
        wall_ns=found["wall_ns"],
        us=tuple(found["us"]),
        errors=found["errors"],
        generator_cpu_ns=found["cpu_ns"],
        server_cpu_ns=cpu,
        served=found["served"],
        rss_bytes=rss,
    )
