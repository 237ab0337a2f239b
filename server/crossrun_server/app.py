"""The whole server, from start to end: the only module that knows all its parts.

load → warm up → SERVING → signal → NOT_SERVING → drain → stop.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2, grpc_service_pb2_grpc
from crossrun.tfserving import (
    model_service_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)
from crossrun.v1 import providers_pb2, providers_pb2_grpc, vision_pb2, vision_pb2_grpc
from crossrun_server.access import audit
from crossrun_server.access.gate import AccessConfig, Gate
from crossrun_server.fronts import certificates, choice, sockets
from crossrun_server.fronts.certificates import Certificates, TlsOptions
from crossrun_server.fronts.choice import Front, FrontName
from crossrun_server.fronts.handlers import Load, Served
from crossrun_server.fronts.limits import Limits
from crossrun_server.models import modes
from crossrun_server.models.modes import Control
from crossrun_server.models.repository import Agree, Repository
from crossrun_server.models.upkeep import idle_memory
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.runtime import providers
from crossrun_server.scheduling import response_cache
from crossrun_server.scheduling.turns import Turns
from crossrun_server.services import reflection
from crossrun_server.services.direct import methods
from crossrun_server.services.direct.call import Direct
from crossrun_server.services.edge import Edge
from crossrun_server.services.health import HealthService
from crossrun_server.services.protocol import ProtocolService
from crossrun_server.services.providers import ProvidersService
from crossrun_server.services.statistics import ReadCounters, read_counters
from crossrun_server.services.tfserving.model_status import ModelService
from crossrun_server.services.tfserving.prediction import PredictionService
from crossrun_server.services.vision import VisionService
from crossrun_server.telemetry import logs, metrics, trace_settings, tracing
from crossrun_server.telemetry.failures import Failures
from crossrun_server.telemetry.metrics_http import Entrance
from crossrun_server.telemetry.readings import Snapshot
from crossrun_server.telemetry.request_record import Observer
from crossrun_server.telemetry.tracing import Tracer
from crossrun_server.tensors.shared_memory import Regions
from crossrun_server.vision import pipeline
from crossrun_server.vision.picture_limits import PictureLimits

log = logging.getLogger(__name__)

SCRAPE = 10.0  # seconds that a scrape of the metrics waits for the event loop
SERVED = tuple(
    stub.DESCRIPTOR
    for stub in (
        grpc_service_pb2,
        vision_pb2,
        providers_pb2,
        prediction_service_pb2,
        model_service_pb2,
    )
)
LAST_WORDS = 1.0  # seconds that open streams, such as Watch, have after the last answer

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """How a server is started."""

    models: Path
    host: str = "127.0.0.1"
    port: int = 8001
    http: bool = True
    http_port: int = 8000
    http_cors: tuple[str, ...] = ()  # origins of pages that may ask
    page: bool = True  # at / of HTTP
    front: FrontName = FrontName.AUTO
    limits: Limits = field(default_factory=Limits)
    tls: TlsOptions = field(default_factory=TlsOptions)
    exit_timeout: int = 30  # seconds that accepted requests have after the stop
    provider: str = "auto"
    provider_options: tuple[str, ...] = ()
    proof_tolerance: float | None = None  # None: the tolerance of each model's proof
    pictures: PictureLimits = field(default_factory=PictureLimits)
    access: AccessConfig = field(default_factory=AccessConfig)
    max_queue_wait: int = 1000  # milliseconds that a request may be expected to wait
    shared_memory: bool = False
    shared_memory_prefix: str = ""  # of the names of the objects that clients may register
    server_name: str = "crossrun"
    control: modes.LoadPolicy = field(default_factory=modes.LoadPolicy)
    state_file: Path | None = None  # keeps what clients load for the next start; None: nothing does
    metrics: bool = True
    metrics_port: int = 8002
    cache_config: str = ""  # Triton's local,size=BYTES; empty: no response cache
    trace_config: tuple[str, ...] = ()  # Triton's triton,file=PATH and the like
    log: logs.LogSettings = field(default_factory=logs.LogSettings)


@dataclass(frozen=True)
class Coordination:
    """What a server does differently if it is one of several on its port."""

    suffix: str = ""  # of the files of its traces
    shares_port: bool = False
    cores: int = 0  # its share of the machine; 0: all that the process may use
    agree: Agree | None = None  # has the last word on loads that clients ask for
    read_counters: ReadCounters = read_counters  # of some models, whoever has answered for them
    interceptors: tuple[grpc.aio.ServerInterceptor, ...] = ()


@dataclass(frozen=True)
class Server:
    """A server that is put together, and listens to no port yet."""

    config: Config
    coordination: Coordination
    control: Control
    health: HealthService
    tracer: Tracer
    gate: Gate
    failures: Failures
    edge: Edge
    protocol: ProtocolService
    regions: Regions
    front: Front
    certificates: Certificates | None
    decoding: Turns
    draining: asyncio.Event
    load: Load = field(default_factory=Load)

    def snapshot(self) -> Snapshot:
        """Read all figures; to be called on the event loop."""
        return Snapshot(
            models=tuple(model.reading() for model in self.control.repository),
            failures=self.failures.read(),
            dropped_spans=self.tracer.dropped_spans,
            bytes_in_flight=self.load.bytes_in_flight(),
            connections=self.load.connections(),
            processes={self.coordination.suffix.removeprefix("."): os.getpid()},
        )


async def serve(config: Config, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted; a second signal ends at once.

    Args:
        config: what to serve and where.
        announce: is called with the address once all models of the start are SERVING.

    Raises:
        LoadError: a model cannot be loaded, and the configuration makes that fatal.
        ServingError: the options contradict each other, or the port cannot be bound.
    """
    server = assemble(config, logs.start(config.log), Coordination())
    server.gate.warn(config.host)
    stop = stop_on_signal(lambda: None)
    server.front.prepare()
    await server.control.start()
    async with listening(server) as address:
        read = _soon(server.snapshot)
        with exporting(config, server.front, server.certificates, server.gate, read):
            answered = await work(server, stop, lambda: announce(address))
    await close(server, answered=answered)


def gate_of(config: Config) -> Gate:
    """Make what lets callers in, to the port and to the metrics.

    Raises:
        ServingError: see Gate.
    """
    return Gate(config.access, remote=not sockets.only_here(config.host))


def assemble(config: Config, process_log: logs.Log, coordination: Coordination) -> Server:
    """Put a server together; no model is loaded and no port is open.

    Raises:
        ServingError: an option is not understood, or names a file that cannot be used.
    """
    config.limits.check()
    failures = Failures()
    health, gate, front = HealthService(), gate_of(config), choice.chosen(config.front)
    shown = secured(config, front)
    edge = Edge(gate, audit.start(config.access.audit_log), failures)
    regions = Regions(config.shared_memory, config.shared_memory_prefix)
    tracer = tracing.started(trace_settings.parse(config.trace_config), coordination.suffix)
    shared = _shared(config, (tracer.finished, process_log.finished), coordination.cores)
    models = Repository(config.models, shared, health.set)
    policy, state = modes.with_state(config.control, config.state_file)
    control = Control(models, policy, coordination.agree, state)
    protocol = ProtocolService(
        name=config.server_name,
        front=front.name,
        control=control,
        regions=regions,
        in_flight=edge.in_flight,
        failures=failures,
        tracer=tracer,
        log=process_log,
        read_counters=coordination.read_counters,
    )
    return Server(
        config=config,
        coordination=coordination,
        control=control,
        health=health,
        tracer=tracer,
        gate=gate,
        failures=failures,
        edge=edge,
        protocol=protocol,
        regions=regions,
        front=front,
        certificates=shown,
        decoding=pipeline.turns(config.max_queue_wait / 1e3),
        draining=asyncio.Event(),
    )


def secured(config: Config, front: Front) -> Certificates | None:
    """Return what connections are opened with; None if they are plain.

    Raises:
        ServingError: options contradict each other, or the certificates cannot be used.
    """
    files = config.tls.files()
    return certificates.load(files, front.secure) if files else None


async def work(server: Server, stop: asyncio.Event, started: Callable[[], None]) -> bool:
    """Answer requests until the stop, then those that were accepted; returns whether all were."""
    models = server.control.repository
    memories = idle_memory.give_back_when_idle(lambda: (model.memory for model in models))
    beside = [asyncio.create_task(one) for one in (server.control.watch(), memories)]
    started()
    await stop.wait()
    log.info("draining")
    for task in beside:
        task.cancel()
    models.draining = True
    server.health.stop()
    server.draining.set()
    try:
        async with asyncio.timeout(server.config.exit_timeout):
            await server.edge.in_flight.drained()
            await models.drained()  # of requests that are not the event loop's
    except TimeoutError:
        log.warning("what is not answered within --exit-timeout-secs is cancelled")
        return False
    return True


async def close(server: Server, *, answered: bool) -> None:
    """Release everything, once the port is closed; end the process if something still runs."""
    await server.control.repository.close()
    await _cancelled_calls_ended()
    await asyncio.to_thread(server.tracer.close)  # the last spans may take a while
    server.failures.close()
    log.info("stopped")
    if not answered:  # Python would wait for the threads that compute
        os._exit(0)


async def _cancelled_calls_ended() -> None:
    """Wait for streams that the stop cancelled; gRPC logs a stream that is cancelled again."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=LAST_WORDS)


def _shared(config: Config, observers: tuple[Observer, ...], cores: int) -> ServerContext:
    options = providers.parse_options(config.provider_options)
    kept = (
        response_cache.ResponseCache(response_cache.parse(config.cache_config))
        if config.cache_config
        else None
    )
    default = providers.parse(config.provider, options)
    return ServerContext(
        default=default,
        cache=kept,
        observers=observers,
        cores=cores,
        proof_tolerance=config.proof_tolerance,
        max_wait=config.max_queue_wait / 1e3,
    )


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[str]:
    """Open the port, and be SERVING, until the block ends; yields the address.

    Args:
        server: it has loaded its models.

    Raises:
        ServingError: the port cannot be bound.
    """
    config, front = server.config, server.front
    served = Served(
        register=partial(_add_services, server),
        interceptors=(server.edge, *server.coordination.interceptors),
        direct=methods.gated(_direct(server), server.gate, server.failures),
        limits=config.limits,
        failures=server.failures,
        load=server.load,
        certificates=server.certificates,
        draining=server.draining,
    )
    shared = server.coordination.shares_port
    serving = front.serving(
        served, config.host, config.port, shared_port=shared, last_words=LAST_WORDS
    )
    async with serving as port, _http(server, served, port):
        log.info("front end: %s (%s)", front.name, front.version)
        for name in ("", *reflection.services(SERVED)):
            server.health.set(name, True)
        yield f"{config.host}:{port}"


@asynccontextmanager
async def _http(server: Server, served: Served, grpc_port: int) -> AsyncIterator[None]:
    """Serve HTTP until the block ends, if the configuration wants it.

    Raises:
        ServingError: its port cannot be bound.
    """
    config, coordination = server.config, server.coordination
    if not config.http:
        yield
        return
    from crossrun_server.rest import serving  # noqa: PLC0415 - 0.2 s and 20 MB, for those who want it

    edge = server.edge.of_made_messages()
    served = replace(served, interceptors=(edge, *coordination.interceptors))
    inner = serving.Inner(
        server.gate,
        server.control.repository,
        server.edge.in_flight,
        config.http_cors,
        grpc_port if config.page else None,
    )
    shared = coordination.shares_port
    async with serving.serving(
        served,
        inner,
        config.host,
        config.http_port,
        shared_port=shared,
        last_words=LAST_WORDS,
    ) as port:
        scheme = "https" if served.certificates else "http"
        log.info("HTTP on %s://%s:%d", scheme, config.host, port)
        yield


def _direct(server: Server) -> dict[str, Direct]:
    return methods.direct(
        server.control.repository,
        server.regions,
        server.config.pictures,
        server.decoding,
        server.failures,
    )


@contextmanager
def exporting(
    config: Config,
    front: Front,
    shown: Certificates | None,
    gate: Gate,
    read: Callable[[], Awaitable[Snapshot]],
) -> Iterator[None]:
    """Serve the metrics until the block ends, if the configuration wants them.

    Raises:
        ServingError: their port cannot be bound.
    """
    if not config.metrics:
        yield
        return
    figures = _on_this_loop(read)
    told = metrics.FrontEnd(front.name, front.version)
    secure = (lambda: shown.current().context) if shown else None
    entrance = Entrance(gate.scrape, secure)
    with metrics.exporting(config.host, config.metrics_port, figures, told, entrance) as url:
        log.info("metrics on %s", url)
        yield


def _soon(function: Callable[[], T]) -> Callable[[], Awaitable[T]]:
    async def call() -> T:
        return function()

    return call


def _on_this_loop(function: Callable[[], Awaitable[T]]) -> Callable[[], T]:
    """Return a function for other threads, which runs on this event loop and waits for it."""
    loop = asyncio.get_running_loop()

    async def call() -> T:
        return await function()

    return lambda: asyncio.run_coroutine_threadsafe(call(), loop).result(SCRAPE)


def _add_services(server: Server, grpc_server: Any) -> None:
    """Add every service to a server of grpc.aio, or to what collects handlers."""
    models = server.control.repository
    vision = VisionService(models, server.config.pictures, server.decoding)
    grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(server.protocol, grpc_server)
    vision_pb2_grpc.add_VisionServicer_to_server(vision, grpc_server)
    providers_pb2_grpc.add_ProvidersServicer_to_server(ProvidersService(models), grpc_server)
    predicting = PredictionService(models, vision)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(predicting, grpc_server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(models), grpc_server)
    health_pb2_grpc.add_HealthServicer_to_server(server.health, grpc_server)
    reflection.add([*SERVED, health_pb2.DESCRIPTOR], grpc_server)


def stop_on_signal(force: Callable[[], None]) -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; the second calls `force` and exits with 1."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            force()
            os._exit(1)  # a second signal means: do not wait any longer
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop
