"""One of several server processes on a port. The supervisor starts it with its job on stdin.

It loads the models, waits until it may serve, and serves until it is told to stop. It ends when
the supervisor does, however that ends, because stdin is closed then.
"""

import asyncio
import os
import pickle
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrun_server import app
from crossrun_server.app import Config, Coordination, Server
from crossrun_server.errors import LoadError, ServingError
from crossrun_server.models.model import Model
from crossrun_server.telemetry import logs
from crossrun_server.telemetry.readings import Snapshot
from crossrun_server.telemetry.statistics import Counters, added
from crossrun_server.workers.changes import Change
from crossrun_server.workers.link import Peer, answering
from crossrun_server.workers.sharing import Outcome, Sharing, follow, operations

SUPERVISOR = "supervisor"  # its socket's name; a worker's is its number


@dataclass(frozen=True)
class Job:
    """What the supervisor sends a worker at its start."""

    number: int  # never used twice by a supervisor
    config: Config
    cores: int  # its share of the machine
    folder: Path  # of the sockets


class Worker:
    """The functions that the supervisor calls in this process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._operations = operations(server.protocol)
        self.admitted, self.serving, self.stop = (asyncio.Event() for _ in range(3))

    async def open(self) -> frozenset[str]:
        """Take requests; returns the names of the models that were to be loaded at the start."""
        self.admitted.set()
        await self.serving.wait()
        index = self._server.control.repository.index()
        return frozenset(line.name for line in index if line.state)

    async def change(self, method: str, request: Change) -> Outcome:
        """Carry out a control call; the stop waits for it, as for any other request."""
        with self._server.edge.in_flight:
            return await follow(self._operations, method, request)

    async def read(self) -> Snapshot:
        """Return what this process has counted."""
        return self._server.snapshot()

    async def end(self) -> None:
        """Start the stop."""
        self.stop.set()


async def serve(job: Job, supervisor: Peer) -> None:
    """Do a job until told to stop.

    Raises:
        LoadError: a model cannot be loaded, and the configuration makes that fatal.
        ServingError: an option is wrong, or the port cannot be bound.
    """
    process_log = logs.start(job.config.log)
    server = app.assemble(job.config, process_log, _coordination(job, supervisor))
    worker = Worker(server)
    server.front.prepare()
    await server.control.start()
    functions = {f.__name__: f for f in (worker.open, worker.change, worker.read, worker.end)}
    async with answering(job.folder / str(job.number), functions):
        await supervisor.call("loaded", job.number)
        await worker.admitted.wait()
        async with app.listening(server):
            answered = await app.work(server, worker.stop, worker.serving.set)
    await app.close(server, answered=answered)


def _coordination(job: Job, supervisor: Peer) -> Coordination:
    async def agree() -> None:
        if refusal := await supervisor.call("agree", job.number):
            raise LoadError(refusal)

    async def read_counters(models: list[Model]) -> list[Counters]:
        snapshot: Snapshot = await supervisor.call("read")
        return [_of(model, snapshot) for model in models]

    async def forward(method: str, request: Change) -> Outcome:
        outcome: Outcome = await supervisor.call("change", method, request)
        return outcome

    return Coordination(
        suffix=f".worker{job.number}",
        shares_port=True,
        cores=job.cores,
        agree=agree,
        read_counters=read_counters,
        interceptors=(Sharing(forward),),
    )


def _of(model: Model, snapshot: Snapshot) -> Counters:
    total = Counters()
    for reading in snapshot.models:
        if reading.labels[:2] == (model.name, model.version):
            total = added(total, reading.counters)
    return total


async def _run(job: Job) -> int:
    """Serve, and tell the supervisor if that fails; returns the exit code."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _orphaned, job.folder)
    supervisor = Peer(job.folder / SUPERVISOR)
    try:
        await serve(job, supervisor)
    except ServingError as error:
        await supervisor.call("failed", job.number, str(error))
        return 1
    finally:
        await supervisor.close()
    return 0


def _orphaned(folder: Path) -> None:
    """End at once: nobody can stop or replace this process, and others may take the port."""
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _ignore(*_: Any) -> None:
    """Leave a signal that a terminal or systemd sends to the whole group to the supervisor."""


def main() -> None:
    """Read a job from stdin and do it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    job: Job = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own supervisor wrote it
    raise SystemExit(asyncio.run(_run(job)))
