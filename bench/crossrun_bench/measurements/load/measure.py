"""`crossrun-bench load`: servers under load, ours and others, beside onnxruntime alone.

Turns are interleaved, A B C A B C; a server is started for its turn and stopped after it. Searches
for the highest rate come last, their probes interleaved too, with all servers running.
"""

import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.load import servers as load_servers
from crossrun_bench.measurements.load import slo
from crossrun_bench.measurements.load import turns as load_turns
from crossrun_bench.measurements.load.plan import OF_DETECTORS, REST, Load, LoadPlan, Time
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn
from crossrun_bench.measurements.load.servers import Served
from crossrun_bench.measurements.load.turns import Running
from crossrun_bench.measurements.tasks import Request, Session
from crossrun_bench.models.info import about
from crossrun_bench.models.model import Model
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.processes.piped import Piped, piped
from crossrun_bench.processes.serving import running
from crossrun_bench.progress import bar, say
from crossrun_bench.targets.choice import check_runs
from crossrun_bench.targets.convert import converted
from crossrun_bench.targets.targets import label
from crossrun_bench.targets.task import Task

Take = Callable[[Load, Time, int], LoadTurn]
Turns = dict[str, list[LoadTurn]]
Alone = Sequence[tuple[Session, Piped]]

# One core, until the process that started it is gone.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


@dataclass(frozen=True)
class _Ready:
    """The processes that stay for all rounds."""

    alone: Alone
    runtimes: Sequence[tuple[str, Piped]]  # by the name of each
    generators: Sequence[Piped]


def measure(plan: LoadPlan, command: str) -> LoadResult:
    """Measure all targets under each load, in interleaved rounds; then look for highest rates.

    Raises:
        BenchError: something cannot be read or started, or a server answers wrong.
    """
    model = read_model(plan.models, plan.name)
    _check(plan, model)
    before = machine.describe()
    cores = max(1, math.floor(before.cores))
    servers = load_servers.servers(plan, model, cores)
    with _ready(plan, model, cores) as ready:
        turns = _rounds(plan, ready, servers)
        if plan.objective:
            _search(plan, ready, servers, turns)
    measured = [LoadTarget(str(s), True, tuple(turns[str(s)])) for s, _ in ready.alone]
    measured += [LoadTarget(n, False, tuple(turns[n]), runtime=True) for n, _ in ready.runtimes]
    measured += [LoadTarget(s.name, False, tuple(turns[s.name])) for s in servers]
    return LoadResult(
        command=command,
        machine=machine.finished(before),
        model=about(model),
        neighbour=plan.neighbour,
        targets=tuple(measured),
        arrivals=plan.arrivals if plan.rates or plan.objective else "",
        objective=plan.objective,
        processes=plan.processes,
    )


def _check(plan: LoadPlan, model: Model) -> None:
    """Refuses runtimes and forms of requests that are not for this model."""
    for target in plan.runtimes:
        check_runs(target, model)
    if model.detector and not set(plan.forms) <= set(OF_DETECTORS):
        told = f"{model.name} is a detector: expected {' or '.join(OF_DETECTORS)}"
        raise BenchError(f"--form '{','.join(plan.forms)}': {told}")


@contextmanager
def _ready(plan: LoadPlan, model: Model, cores: int) -> Iterator[_Ready]:
    """What runs in process and generators, all told what to ask; and the neighbour."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        picture = drawn(folder, 1, model.height, model.width)
        pixels, (encoded,) = picture.pixels, picture.files
        sessions = load_servers.sessions(plan, model, pixels, cores)
        alone = [(s, stack.enter_context(_told("inprocess", str(s), s))) for s in sessions]
        request = Request(model, pixels, str(folder / "expected.npy"), encoded)
        alone[0][1].ask(do="answer", output=request.expected)
        runtimes = _runtimes(plan, model, picture, folder, stack)
        asking = [_told("process", "generator", request) for _ in range(plan.processes)]
        generators = [stack.enter_context(generator) for generator in asking]
        if plan.neighbour:
            stack.enter_context(_neighbour())
        yield _Ready(alone, runtimes, generators)


def _runtimes(
    plan: LoadPlan, model: Model, pictures: Pictures, folder: Path, stack: ExitStack
) -> list[tuple[str, Piped]]:
    """A process for each target in process, once all have loaded; they start together."""
    tasks = converted([Task(target, model, pictures) for target in plan.runtimes], folder)
    told = [_told("runtime", str(task), task) for task in tasks]
    children = [stack.enter_context(child) for child in told]
    for child in children:
        child.hear()
    return [(label(task.target), child) for task, child in zip(tasks, children, strict=True)]


@contextmanager
def _told(module: str, name: str, task: Any) -> Iterator[Piped]:
    with piped(f"measurements.load.generator.{module}", name) as child:
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


def _rounds(plan: LoadPlan, ready: _Ready, servers: Sequence[Served]) -> Turns:
    turns: Turns = defaultdict(list)
    many = len(ready.runtimes) + len(servers)
    with bar(plan.rounds * (len(ready.alone) + many * len(plan.loads))) as step:
        for number in range(1, plan.rounds + 1):
            for name, turn in _round(plan, ready, servers, number):
                turns[name].append(turn)
                step(f"round {number}: {name}")
    return turns


def _round(
    plan: LoadPlan, ready: _Ready, servers: Sequence[Served], number: int
) -> Iterator[tuple[str, LoadTurn]]:
    """One turn of each session, then of each runtime and each server under each load."""
    for session, child in ready.alone:
        yield str(session), load_turns.alone(child, Load(session.callers), plan.time, number)
    for name, child in ready.runtimes:
        for load in plan.loads:
            yield name, load_turns.alone(child, load, plan.time, number)
    for server in servers:
        with _started(server, ready) as take:
            for load in plan.loads:
                yield server.name, take(load, plan.time, number)


@contextmanager
def _started(server: Served, ready: _Ready) -> Iterator[Take]:
    """Starts the server if it does not run yet; yields what takes a turn of it."""
    with ExitStack() as stack:
        address, pid = server.address, None
        if server.command:
            started = stack.enter_context(running(server.name, server.command))
            address = started.http if server.form in REST else started.address
            pid = started.pid
        asked = Running(server.name, address, pid, server.form)
        yield partial(load_turns.taken, ready.generators, asked)


def _search(plan: LoadPlan, ready: _Ready, servers: Sequence[Served], turns: Turns) -> None:
    """Add the probes of each target that answered."""
    with ExitStack() as stack, bar(0) as step:
        takes: dict[str, Take] = {}
        takes |= {name: partial(load_turns.alone, child) for name, child in ready.runtimes}
        takes |= {s.name: stack.enter_context(_started(s, ready)) for s in servers}
        answered = {name: take for name, take in takes.items() if _most(turns[name])}
        for name in takes.keys() - answered.keys():
            say(f"--slo: {name} answered nothing, so its highest rate is not searched for")
        if not answered:
            raise BenchError(f"--slo: no target answered, so that nothing holds {plan.objective}")
        searches = {n: _probes(plan, take, _most(turns[n])) for n, take in answered.items()}
        for name, turn in slo.interleaved(searches):
            step(f"{plan.objective}: {name} at {turn.rate:.0f} a second")
            turns[name].append(turn)


def _most(turns: Sequence[LoadTurn]) -> float:
    """Requests a second that the best closed loop answered."""
    return max(1e9 * len(turn.us) / turn.wall_ns for turn in turns if turn.rate is None)


def _probes(plan: LoadPlan, take: Take, first: float) -> Iterator[LoadTurn]:
    """A search from the closed loop's throughput on."""
    assert plan.objective

    def probe(rate: float, number: int) -> LoadTurn:
        load = Load(rate=rate, arrivals=plan.arrivals)
        return replace(take(load, plan.probing(rate), number), probe=True)

    return slo.search(probe, first, plan.objective)
