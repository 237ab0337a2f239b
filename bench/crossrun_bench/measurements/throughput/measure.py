"""`crossrun-bench throughput`: rows a second by batch size, in process and through our server.

One execution provider after the other; of one batch size the turns are interleaved, A B C A B C.
A provider that cannot run here is noted in the result; the others are measured.
"""

import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.machine.core_to_core import core_to_core
from crossrun_bench.measurements.proving import UNPROVEN, Judge, Refused
from crossrun_bench.measurements.tasks import CUDA, TENSORRT, WAYS, OnProvider
from crossrun_bench.measurements.throughput.checking import check
from crossrun_bench.measurements.throughput.result import (
    AloneTurn,
    ProviderThroughput,
    ServedTurn,
    ThroughputResult,
)
from crossrun_bench.measurements.throughput.served import asking, max_batch_size, turn
from crossrun_bench.models.checked import Checked
from crossrun_bench.models.info import about
from crossrun_bench.models.model import Model
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.processes.piped import Piped, piped
from crossrun_bench.processes.serving import Server, running, serve_command
from crossrun_bench.progress import Step, bar
from crossrun_bench.providers import CPU, Provider, asked
from crossrun_bench.targets.environments import backend

BUILD_S = 1800.0  # until a server is ready whose provider builds an engine
PICTURES = 8  # drawn; batches repeat them
LEAST = 16  # runs' worth of time of a served turn, in which requests are counted
_LOADING = re.compile(r"^.*failed to load '[^']*': (version \d+: )?")


@dataclass(frozen=True)
class ThroughputPlan:
    """What to measure: a model, on which providers, in batches of how many rows."""

    models: Path
    name: str
    providers: Sequence[str]
    batches: Sequence[int]
    rounds: int
    seconds: float  # a turn
    environments: Mapping[str, Path]  # that were named, by provider
    proof_tolerance: float | None = None  # overrules the proof's own


@dataclass(frozen=True)
class _Measured:
    """One provider while it is measured."""

    plan: ThroughputPlan
    folder: Path  # for what the processes are handed
    server: Server
    children: list[tuple[OnProvider, Piped]]  # those that still run
    max_batch_size: int
    alone: list[AloneTurn] = field(default_factory=list)
    served: list[ServedTurn] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def measure(plan: ThroughputPlan, command: str) -> ThroughputResult:
    """Measure every provider that can run here.

    Raises:
        BenchError: the model cannot be read.
    """
    if not plan.providers:
        raise BenchError("--providers '': expected some, such as cuda,cpu")
    model = read_model(plan.models, plan.name)
    before, count = machine.describe(), len(plan.providers) * len(plan.batches)
    with tempfile.TemporaryDirectory() as folder, bar(count) as step:
        pixels = drawn(Path(folder), PICTURES, model.height, model.width).pixels
        judge = Judge.of(model, plan.proof_tolerance, Path(folder))
        found = tuple(_provider(plan, judge, model, pixels, name, step) for name in plan.providers)
    after = machine.finished(before)
    return ThroughputResult(command, after, _cards(), about(model), found)


def _provider(  # noqa: PLR0913, PLR0917 - the plan, its inputs, and the progress
    plan: ThroughputPlan, judge: Judge, model: Model, pixels: str, name: str, step: Step
) -> ProviderThroughput:
    """All of one provider; the server, which tells best why one cannot run, starts first."""
    try:
        found = backend(asked(name, []), plan.environments)
        command = serve_command(plan.models, model.name, found.provider, found.python)
        if plan.proof_tolerance is not None:
            command += ["--proof-tolerance", str(plan.proof_tolerance)]
        with running("crossrun-serve", command, BUILD_S) as server, ExitStack() as stack:
            folder, most = Path(pixels).parent, max_batch_size(server, model.name)
            tasks = _tasks(plan, model, pixels, found.provider)
            children = [(task, stack.enter_context(_told(task, found.python))) for task in tasks]
            measured = _Measured(plan, folder, server, children, most)
            checked = _checked(judge, measured)
            for batch in plan.batches:
                step(f"{name}: batch {batch}")
                _batch(measured, batch)
    except BenchError as error:
        return ProviderThroughput(name, _LOADING.sub("", str(error)), 0, (), (), ())
    turns = tuple(measured.alone), tuple(measured.served)
    failures, precision = tuple(measured.failures), found.provider.precision
    return ProviderThroughput(name, None, most, *turns, failures, precision, checked)


def _checked(judge: Judge, measured: _Measured) -> Checked:
    """How far the worst of all ways to run the model is off.

    Raises:
        Refused: it answers otherwise than the original.
    """
    found = [UNPROVEN]
    for task, child in list(measured.children):
        if task.model.detector:  # one of its outputs is asked for, and says too little
            continue
        most = max(measured.plan.batches) if task.provider.name == TENSORRT else sys.maxsize
        try:
            found.append(check(judge, task, child, most))
        except Refused:
            raise
        except BenchError as error:
            measured.failures.append(str(error))
            measured.children.remove((task, child))
    return max(found, key=lambda one: one.difference or -1.0)


def _tasks(plan: ThroughputPlan, model: Model, pixels: str, on: Provider) -> list[OnProvider]:
    """The ways to run in process: on the CPU also as many callers as cores, of a thread each."""
    cores = max(1, math.floor(machine.describe().cores))
    task = OnProvider(model, on, pixels, "plain", callers=1, threads=cores)
    if on.name == CPU.name:
        return [task] if cores == 1 else [task, replace(task, callers=cores, threads=1)]
    if on.name == TENSORRT:
        task = replace(task, provider=_built_once(task, max(plan.batches)))
    return [replace(task, way=way) for way in WAYS] if on.name in (CUDA, TENSORRT) else [task]


def _built_once(task: OnProvider, most: int) -> Provider:
    """TensorRT with one engine for all sizes, which the first process builds for the others."""
    model, folder = task.model, str(Path(task.pixels).parent)
    options: dict[str, str] = {}
    for kind in ("engine", "timing"):
        options |= {f"trt_{kind}_cache_enable": "1", f"trt_{kind}_cache_path": folder}
    for bound, rows in (("min", 1), ("opt", most), ("max", most)):
        shape = f"{rows}x{model.height}x{model.width}x3"
        options[f"trt_profile_{bound}_shapes"] = f"{model.input_name}:{shape}"
    return replace(task.provider, options=options)


@contextmanager
def _told(task: OnProvider, python: str = sys.executable) -> Iterator[Piped]:
    with piped("measurements.throughput.process", str(task), python) as child:
        child.say(**asdict(task))
        yield child


def _batch(measured: _Measured, batch: int) -> None:
    """The rounds of one batch size. A process that fails is reported and left out from then on."""
    for number in range(1, measured.plan.rounds + 1):
        for task, child in list(measured.children):
            # Callers beside each other are what lanes are, and take their memory each.
            if task.callers == 1 or batch <= measured.max_batch_size:
                _alone(measured, task, child, batch, number)
        if batch <= measured.max_batch_size and measured.children:
            _served(measured, batch, number)


def _alone(measured: _Measured, task: OnProvider, child: Piped, batch: int, number: int) -> None:
    apart = core_to_core()
    try:
        reply = child.ask(do="turn", batch=batch, seconds=measured.plan.seconds)
    except BenchError as error:
        measured.failures.append(f"Batch {batch}: {error}")
        measured.children.remove((task, child))
        return
    how = task.way, batch, task.callers, task.threads, number
    measured.alone.append(AloneTurn(*how, tuple(reply["ns"]), apart))


def _served(measured: _Measured, batch: int, number: int) -> None:
    task, child = measured.children[0]
    took = [sum(t.ns) / len(t.ns) / t.callers for t in measured.alone if t.batch == batch]
    seconds = max(measured.plan.seconds, LEAST * min(took) / 1e9)
    try:
        request = asking(task, child, batch, measured.folder)
        measured.served.append(turn(measured.server, request, seconds, number))
    except BenchError as error:
        measured.failures.append(f"Batch {batch}, served: {error}")


def _cards() -> tuple[str, ...]:
    """Graphics cards with their drivers; none if nvidia-smi is missing or finds none."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    query = [command, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    asked = subprocess.run(query, check=False, capture_output=True, text=True)
    return tuple(asked.stdout.splitlines()) if asked.returncode == 0 else ()
