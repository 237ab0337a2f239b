"""The whole server, from start to end: the only file that knows all the parts.

load → warm up → SERVING → signal → NOT_SERVING → drain → stop.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from crossrun.oip import grpc_service_pb2, grpc_service_pb2_grpc
from crossrun.v1 import providers_pb2, providers_pb2_grpc, vision_pb2, vision_pb2_grpc
from crossrun_server import providers, repository
from crossrun_server.errors import ServingError
from crossrun_server.repository import Repository
from crossrun_server.services.edge import Edge
from crossrun_server.services.protocol import ProtocolService
from crossrun_server.services.providers import ProvidersService
from crossrun_server.services.vision import VisionService
from crossrun_server.shared_memory import Regions

log = logging.getLogger(__name__)

SERVING = health_pb2.HealthCheckResponse.SERVING
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


async def serve(config: Config, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted; a second signal forces.

    Args:
        config: what to serve and where.
        announce: is told the address once all models are SERVING.

    Raises:
        LoadError: a model cannot be loaded.
        ServingError: the port cannot be bound.
    """
    stop = _stop_on_signal()
    request = providers.parse(config.provider, providers.parse_options(config.provider_options))
    models = repository.load(config.models, request)
    async with _running(config, models) as running:
        announce(running.address)
        await stop.wait()
        log.info("draining")
        models.draining = True
        await running.health.enter_graceful_shutdown()
        await running.edge.in_flight.drained()
    models.close()
    log.info("stopped")


@dataclass(frozen=True)
class _Running:
    address: str
    edge: Edge
    health: HealthServicer


@asynccontextmanager
async def _running(config: Config, models: Repository) -> AsyncIterator[_Running]:
    edge, health = Edge(), HealthServicer()
    server = grpc.aio.server(interceptors=(edge,), options=OPTIONS)
    protocol = ProtocolService(
        models, Regions(config.shared_memory), edge.in_flight, config.server_name
    )
    names = _add_services(server, models, protocol, health)
    port = _bind(server, config)
    await server.start()
    for name in names:
        await health.set(name, SERVING)
    try:
        yield _Running(f"{config.host}:{port}", edge, health)
    finally:
        await server.stop(LAST_WORDS)


def _add_services(
    server: grpc.aio.Server, models: Repository, protocol: ProtocolService, health: HealthServicer
) -> list[str]:
    """Register every service; returns the names that health answers for."""
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
    return ["", *services, *sorted({model.name for model in models})]


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
