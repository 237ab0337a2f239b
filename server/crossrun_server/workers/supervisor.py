"""Several server processes on one port: starts them, replaces those that end, stops them all.

Holds the port, and serves nobody itself. What the workers have to agree on is decided in
consensus.py.
"""

import asyncio
import logging
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server import app, cores
from crossrun_server.app import Config
from crossrun_server.errors import ServingError
from crossrun_server.fronts import choice
from crossrun_server.models import modes
from crossrun_server.models.modes import Mode
from crossrun_server.models.state_file import StateFile
from crossrun_server.services.control import sent
from crossrun_server.services.settings import log_changes
from crossrun_server.telemetry import logs, readings
from crossrun_server.telemetry.readings import Snapshot
from crossrun_server.workers.changes import Change
from crossrun_server.workers.consensus import Consensus, Member
from crossrun_server.workers.link import Function, Lost, Peer, answering
from crossrun_server.workers.ports import reserved
from crossrun_server.workers.worker import SUPERVISOR, Job

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-c", "from crossrun_server.workers.worker import main; main()")
TRIES = 3  # so many failed starts in a row end the server
SHORT = 10.0  # seconds; a worker that served no longer than that is replaced after a pause
LONGEST_PAUSE = 10.0  # seconds


@dataclass(eq=False)
class Start:
    """A worker that has been started; `loaded` is set once it can serve or has failed."""

    number: int
    process: asyncio.subprocess.Process
    peer: Peer
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""


async def serve(config: Config, workers: int, announce: Callable[[str], None]) -> None:
    """Serve with several processes until SIGTERM or SIGINT; a second signal forces the end.

    Args:
        config: what to serve and where.
        workers: how many processes.
        announce: is called with the address once all of them are SERVING.

    Raises:
        ServingError: a worker cannot start, at first or three times in a row later, the port is in
            use, or certificates cannot be used.
    """
    process_log = logs.start(config.log)
    gate = app.gate_of(config)
    gate.warn(config.host)
    front = choice.chosen(config.front)
    shown = app.secured(config, front)
    with (
        reserved(config.host, config.port) as port,
        _http_port(config) as http_port,
        tempfile.TemporaryDirectory(prefix="crossrun-") as folder,
    ):
        own = replace(config, port=port, http_port=http_port)
        crew = Crew(own, workers, Path(folder), process_log)
        stop = app.stop_on_signal(crew.abandon)
        async with answering(crew.folder / SUPERVISOR, crew.functions):
            with app.exporting(config, front, shown, gate, crew.read):
                await crew.run(stop, lambda: announce(f"{config.host}:{port}"))
    log.info("stopped")


def _http_port(config: Config) -> AbstractContextManager[int]:
    return reserved(config.host, config.http_port) if config.http else nullcontext(0)


class Crew:
    """The workers of one port."""

    def __init__(self, config: Config, size: int, folder: Path, process_log: logs.Log) -> None:
        self.folder = folder
        control, self._state = modes.with_state(config.control, config.state_file)
        self.consensus = Consensus(self._noted)
        self.functions: dict[str, Function] = {
            "loaded": self._loaded,
            "failed": self._failed,
            "agree": self.consensus.agree,
            "change": self.consensus.change,
            "read": self.consensus.read,
        }
        self._log = process_log
        self._config = replace(config, control=control, state_file=None)
        self._size = size
        self._starts: dict[int, Start] = {}
        self._started = 0
        self._at_start: frozenset[str] | None = None  # models; None: nobody serves yet
        self._complete = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failures = self._short_lives = 0  # in a row

    async def read(self) -> Snapshot:
        """Return what all workers have counted, and which processes there are."""
        own = Snapshot(processes={"supervisor": os.getpid()})
        return readings.total((own, await self.consensus.read()))

    async def run(self, stop: asyncio.Event, announce: Callable[[], None]) -> None:
        """Keep all workers running until the stop, then let them finish.

        Raises:
            ServingError: a worker cannot start.
        """
        stopped = asyncio.create_task(stop.wait())
        complete = asyncio.create_task(self._complete.wait())
        places = [asyncio.create_task(self._keep()) for _ in range(self._size)]
        try:
            await _first(complete, stopped, *places)
            if self._complete.is_set():
                announce()
                await _first(stopped, *places)
            await self._stop()
            await asyncio.gather(*places)
        finally:
            self.kill()
            for task in (stopped, complete, *places):
                task.cancel()
            await asyncio.gather(*(start.process.wait() for start in self._starts.values()))

    def kill(self) -> None:
        """Kill every worker."""
        for start in self._starts.values():
            _kill(start)

    def abandon(self) -> None:
        """Kill every worker and remove the sockets, because this process is about to end."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _stop(self) -> None:
        """Let the workers that serve finish their requests, and kill the others."""
        log.info("draining")
        self._stopping.set()
        for start in list(self._starts.values()):
            member = self.consensus.members.get(start.number)
            if member is None:
                _kill(start)
            else:
                await _end(member)

    async def _keep(self) -> None:
        """Keep a worker running: start it, wait for its end, start another."""
        while not self._stopping.is_set():
            start = await self._spawn()
            if await self._serves(start):
                began = time.monotonic()
                code = await start.process.wait()
                self._ended(start, code, time.monotonic() - began)
            await start.peer.close()
            del self._starts[start.number]
            with suppress(TimeoutError):
                pause = _pause(self._failures + self._short_lives)
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _serves(self, start: Start) -> bool:
        """Wait for a worker's start; returns whether it serves."""
        try:
            await self._admit(start)
        except (ServingError, Lost) as error:
            _kill(start)
            code = await start.process.wait()
            self._not_started(start.failure or _reason(error, code))
            return False
        self._failures = 0
        return True

    async def _admit(self, start: Start) -> None:
        ended = asyncio.create_task(start.process.wait())
        ready = asyncio.create_task(start.loaded.wait())
        await _first(ended, ready)
        for task in (ended, ready):
            task.cancel()
        if start.failure or not start.loaded.is_set():
            raise Lost
        names = await self.consensus.admit(Member(start.number, start.peer))
        log.info("worker %d serves", start.number)
        if self._at_start is None:
            self._at_start = names
        if len(self.consensus.members) == self._size:
            self._complete.set()

    def _not_started(self, reason: str) -> None:
        if self._stopping.is_set():
            return
        self._failures += 1
        if not self._complete.is_set() or self._failures >= TRIES:
            raise ServingError(reason)
        log.error("a worker did not start: %s", reason)

    def _ended(self, start: Start, code: int, seconds: float) -> None:
        self.consensus.dismiss(start.number)
        if self._stopping.is_set():
            return
        self._short_lives = self._short_lives + 1 if seconds < SHORT else 0
        log.error("worker %d ended with code %d; another takes its place", start.number, code)

    async def _spawn(self) -> Start:
        self._started += 1
        job = Job(self._started, self._config_now(), _share(self._size), self.folder)
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,  # its end tells the worker of ours
            start_new_session=True,
        )
        start = Start(job.number, process, Peer(self.folder / str(job.number)))
        self._starts[job.number] = start
        assert process.stdin
        process.stdin.write(pickle.dumps(job))
        if self._stopping.is_set():  # since the process was begun
            _kill(start)
        return start

    def _config_now(self) -> Config:
        """The configuration of a late worker: it loads what is left of the models of the start."""
        if self._at_start is None or self._config.control.mode == Mode.POLL:
            return self._config
        among = self._at_start - self.consensus.changes.models.keys()
        return replace(self._config, control=replace(self._config.control, among=among))

    async def _noted(self, change: Change) -> None:
        """Follow a change that all workers have made."""
        if isinstance(change, pb.LogSettingsRequest):
            self._log.change(log_changes(change))
        if self._state is not None:
            await asyncio.to_thread(_keep, self._state, change)

    async def _loaded(self, number: int) -> None:
        self._starts[number].loaded.set()

    async def _failed(self, number: int, reason: str) -> None:
        self._starts[number].failure = reason
        self._starts[number].loaded.set()


def _keep(state: StateFile, change: Change) -> None:
    """Keep which models are loaded; a change of anything else is not kept."""
    match change:
        case pb.RepositoryModelLoadRequest():
            config, files = sent(change.parameters)
            state.loaded(change.model_name, config, sent=files is not None)
        case pb.RepositoryModelUnloadRequest():
            state.unloaded(change.model_name)


def _share(workers: int) -> int:
    """Return how many cores a worker gets, so that all workers together use all cores."""
    return max(1, cores.available() // workers)


def _pause(failures: int) -> float:
    """Return the seconds to wait before the next start: none at first, then more and more."""
    return 0.0 if failures < 2 else min(2.0 ** (failures - 2) / 2, LONGEST_PAUSE)


def _reason(error: Exception, code: int) -> str:
    if isinstance(error, ServingError):
        return str(error)
    return f"a worker ended with code {code} during its start"


def _kill(start: Start) -> None:
    """Kill a worker; `Process.kill` would take its exit code from the task that waits for it."""
    if start.process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(start.process.pid, signal.SIGKILL)


async def _end(member: Member) -> None:
    try:
        await member.peer.call("end")
    except Lost:
        log.warning("worker %d had ended before the stop", member.number)


async def _first(*tasks: asyncio.Task[object]) -> None:
    """Wait until one of several tasks ends, and raise what it raises."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
