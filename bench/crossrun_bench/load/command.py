"""`crossrun-bench load`: servers under load, ours and others, beside onnxruntime alone.

Turns are interleaved, A B C A B C; a server is started for its turn and stopped after it. Searches
for the highest rate come last, one server after another.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrun_bench import machine
from crossrun_bench.load import slo
from crossrun_bench.load import targets as load_targets
from crossrun_bench.load import turns as load_turns
from crossrun_bench.load.plan import Load
from crossrun_bench.load.tasks import Request, Session
from crossrun_bench.load.turns import Running
from crossrun_bench.piped import piped
from crossrun_bench.prepare import drawn
from crossrun_bench.progress import bar
from crossrun_bench.repository import read_model
from crossrun_bench.results import LoadResult, LoadTarget, LoadTurn, about
from crossrun_bench.serving import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crossrun_bench.load.plan import Plan
    from crossrun_bench.load.targets import Served
    from crossrun_bench.model import Model
    from crossrun_bench.piped import Piped

    Turns = dict[str, list[LoadTurn]]
    Alone = Sequence[tuple[Session, Piped]]
    Generators = Sequence[Piped]

# One core, until the process that started it is gone.
_BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


def measure(plan: Plan, command: str) -> LoadResult:
    """Measure all targets under each load, in interleaved rounds; then look for highest rates.

    BenchError where anything cannot be read or started, or where a server answers wrong.
    """
    model = read_model(plan.models, plan.name)
    before = machine.describe()
    cores = max(1, math.floor(before.cores))
    servers = load_targets.servers(plan, model, cores)
    with _ready(plan, model, cores) as (alone, generators):
        turns = _rounds(plan, alone, servers, generators)
        if plan.objective:
            _search(plan, servers, generators, turns)
    measured = [LoadTarget(str(s), True, tuple(turns[str(s)])) for s, _ in alone]
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


@contextmanager
def _ready(plan: Plan, model: Model, cores: int) -> Iterator[tuple[Alone, Generators]]:
    """Sessions in process and generators, all told what to ask; and the neighbour."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        picture = drawn(folder, 1, model.height, model.width)
        pixels, (encoded,) = picture.pixels, picture.files
        sessions = load_targets.sessions(plan, model, pixels, cores)
        alone = [(s, stack.enter_context(_told("load.inprocess", str(s), s))) for s in sessions]
        request = Request(model, pixels, str(folder / "expected.npy"), encoded)
        alone[0][1].ask(do="answer", output=request.expected)
        asking = [_told("load.generator", "generator", request) for _ in range(plan.processes)]
        generators = [stack.enter_context(generator) for generator in asking]
        if plan.neighbour:
            stack.enter_context(_neighbour())
        yield alone, generators


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


def _rounds(plan: Plan, alone: Alone, servers: Sequence[Served], generators: Generators) -> Turns:
    turns: Turns = defaultdict(list)
    with bar(plan.rounds * (len(alone) + len(servers) * len(plan.loads))) as step:
        for number in range(1, plan.rounds + 1):
            for name, turn in _round(plan, alone, servers, generators, number):
                turns[name].append(turn)
                step(f"round {number}: {name}")
    return turns


def _round(
    plan: Plan, alone: Alone, servers: Sequence[Served], generators: Generators, number: int
) -> Iterator[tuple[str, LoadTurn]]:
    """One turn of each session, then of each server under each load."""
    for session, child in alone:
        yield str(session), _alone(plan, session, child, number)
    for server in servers:
        with _started(server) as address:
            for load in plan.loads:
                yield server.name, load_turns.taken(generators, address, load, plan.time, number)


def _alone(plan: Plan, session: Session, child: Piped, number: int) -> LoadTurn:
    found = child.ask(do="turn", warm=plan.time.warm, seconds=plan.time.counted)
    # What it takes within the counted time goes to what is answered within it.
    found["served"] = len(found["us"])
    cpu, rss = found["cpu_ns"], found["rss_bytes"]
    return load_turns.kept(found | {"cpu_ns": 0}, Load(session.callers), number, cpu, rss)


@contextmanager
def _started(server: Served) -> Iterator[Running]:
    if not server.command:
        yield Running(server.name, server.address, None, server.form)
        return
    with running(server.name, server.command) as started:
        yield Running(server.name, started.address, started.pid, server.form)


def _search(plan: Plan, servers: Sequence[Served], generators: Generators, turns: Turns) -> None:
    """Add the probes of each server that answered, from its closed loop's throughput on."""
    with bar(len(servers)) as step:
        for server in servers:
            step(f"{plan.objective}: {server.name}", 0)
            closed = [turn for turn in turns[server.name] if turn.rate is None]
            first = max(1e9 * len(turn.us) / turn.wall_ns for turn in closed)
            if first:
                turns[server.name] += _probes(plan, server, generators, first)
            step(server.name)


def _probes(plan: Plan, server: Served, generators: Generators, first: float) -> Iterator[LoadTurn]:
    assert plan.objective
    with _started(server) as address:

        def probe(rate: float, number: int) -> LoadTurn:
            load = Load(rate=rate, arrivals=plan.arrivals)
            taken = load_turns.taken(generators, address, load, plan.probing(rate), number)
            return replace(taken, probe=True)

        yield from slo.search(probe, first, plan.objective)
