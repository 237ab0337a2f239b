"""The whole server, from start to end: the only file that knows all the parts.

load → warm up → SERVING → signal → NOT_SERVING → drain → stop.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from crossrun.oip import grpc_service_pb2, grpc_service_pb2_grpc
from crossrun.v1 import providers_pb2, providers_pb2_grpc, vision_pb2, vision_pb2_grpc
from crossrun_server import modes, providers
from crossrun_server.errors import ServingError
from crossrun_server.modes import Control
from crossrun_server.repository import Repository
from crossrun_server.services.edge import Edge
from crossrun_server.services.health import Health
from crossrun_server.services.protocol import ProtocolService
from crossrun_server.services.providers import ProvidersService
from crossrun_server.services.vision import VisionService
from crossrun_server.shared_memory import Regions

log = logging.getLogger(__name__)

OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a batch of pictures is far over grpc's 4 MB
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a share of its requests
)
LAST_WORDS = 1.0  # seconds that open streams, such as Watch, get after the last answer


@dataclass(frozen=True)
class Config:
    """How a server is started."""

    models: Path
    host: str = "127.0.0.1"
    port: int = 8001
    provider: str = "auto"
    provider_options: tuple[str, ...] = ()
    shared_memory: bool = False
    server_name: str = "crossrun"
    control: modes.Policy = field(default_factory=modes.Policy)


async def serve(config: Config, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted; a second signal forces.

    Args:
        config: what to serve and where.
        announce: is told the address once all models that load at the start are SERVING.

    Raises:
        LoadError: a model cannot be loaded, and that is to be fatal.
        ServingError: the options contradict each other, or the port cannot be bound.
    """
    stop, health = _stop_on_signal(), Health()
    request = providers.parse(config.provider, providers.parse_options(config.provider_options))
    models = Repository(config.models, request, health.set)
    control = Control(models, config.control)
    await control.start()
    async with _running(config, control, health) as running:
        watching = asyncio.create_task(control.watch())
        announce(running.address)
        await stop.wait()
        log.info("draining")
        watching.cancel()
        models.draining = True
        health.stop()
        await running.edge.in_flight.drained()
    await models.close()
    log.info("stopped")


@dataclass(frozen=True)
class _Running:
    address: str
    edge: Edge


@asynccontextmanager
async def _running(config: Config, control: Control, health: Health) -> AsyncIterator[_Running]:
    edge = Edge()
    server = grpc.aio.server(interceptors=(edge,), options=OPTIONS)
    protocol = ProtocolService(
        control, Regions(config.shared_memory), edge.in_flight, config.server_name
    )
    names = _add_services(server, control.repository, protocol, health)
    port = _bind(server, config)
    await server.start()
    for name in names:
        health.set(name, True)
    try:
        yield _Running(f"{config.host}:{port}", edge)
    finally:
        await server.stop(LAST_WORDS)


def _add_services(
    server: grpc.aio.Server, models: Repository, protocol: ProtocolService, health: Health
) -> list[str]:
    """Register every service; returns the names that health answers for besides the models."""
    grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(protocol, server)
    vision_pb2_grpc.add_VisionServicer_to_server(VisionService(models), server)
    providers_pb2_grpc.add_ProvidersServicer_to_server(ProvidersService(models), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    services = [
        grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
        vision_pb2.DESCRIPTOR.services_by_name["Vision"].full_name,
        providers_pb2.DESCRIPTOR.services_by_name["Providers"].full_name,
    ]
    reflection.enable_server_reflection(
        [*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
         reflection.SERVICE_NAME], server,
    )  # fmt: skip
    return ["", *services]


def _bind(server: grpc.aio.Server, config: Config) -> int:
    try:
        return server.add_insecure_port(f"{config.host}:{config.port}")
    except RuntimeError as error:
        raise ServingError(
            f"cannot listen on {config.host}:{config.port}: is the port in use?"
        ) from error


def _stop_on_signal() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)  # a second signal: whoever sent it wants no more waiting
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop
