"""The Open Inference Protocol v2: liveness, metadata, configuration and inference."""

import asyncio
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import NamedTuple, TypeVar

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server import distribution
from crossrun_server.errors import ModelUnavailable, UnknownModel
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.batching import Reply
from crossrun_server.scheduling.patience import Patience
from crossrun_server.services import parameters, wire
from crossrun_server.services.edge import Context, traceparent
from crossrun_server.services.messages import (
    RequestedOutput,
    read_inputs,
    read_outputs,
    read_plain_inputs,
    write_outputs,
)
from crossrun_server.telemetry.request_record import Origin
from crossrun_server.tensors.shared_memory import Regions
from crossrun_server.tensors.tensor_spec import Array, TensorSpec

T = TypeVar("T")
LARGE = 160_000  # bytes that threads read and write; the event loop goes on meanwhile


class InferenceService(GRPCInferenceServiceServicer):
    """Answers for every model of a repository."""

    def __init__(
        self, repository: Repository, regions: Regions, name: str, extensions: tuple[str, ...]
    ) -> None:
        self._repository = repository
        self._regions = regions
        self._name = name
        self._version = version(distribution.NAME)  # now: an upgrade may replace it meanwhile
        self._extensions = extensions

    async def ServerLive(
        self,
        request: pb.ServerLiveRequest,
        context: Context,
    ) -> pb.ServerLiveResponse:
        """Say that the process answers at all."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(
        self,
        request: pb.ServerReadyRequest,
        context: Context,
    ) -> pb.ServerReadyResponse:
        """Say whether the server takes requests."""
        return pb.ServerReadyResponse(ready=not self._repository.draining)

    async def ModelReady(
        self,
        request: pb.ModelReadyRequest,
        context: Context,
    ) -> pb.ModelReadyResponse:
        """Say whether a model takes requests; a model that nobody knows does not."""
        try:
            self._repository.get(request.name, request.version)
        except (ModelUnavailable, UnknownModel):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def ServerMetadata(
        self,
        request: pb.ServerMetadataRequest,
        context: Context,
    ) -> pb.ServerMetadataResponse:
        """Return the server's name, its version and the extensions that work."""
        return pb.ServerMetadataResponse(
            name=self._name, version=self._version, extensions=self._extensions
        )

    async def ModelMetadata(
        self,
        request: pb.ModelMetadataRequest,
        context: Context,
    ) -> pb.ModelMetadataResponse:
        """Describe the inputs and the outputs of a model."""
        model = self._repository.find(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=self._repository.versions(model.name),
            platform=model.config.proto.platform,
            inputs=[_metadata(spec) for spec in model.config.inputs],
            outputs=[_metadata(spec) for spec in model.config.outputs],
        )

    async def ModelConfig(
        self,
        request: pb.ModelConfigRequest,
        context: Context,
    ) -> pb.ModelConfigResponse:
        """Return the completed configuration of a model."""
        model = self._repository.find(request.name, request.version)
        return pb.ModelConfigResponse(config=model.config.proto)

    async def ModelInfer(
        self, request: wire.WireRequest, context: Context
    ) -> pb.ModelInferResponse:
        """Run a model on the tensors of a request."""
        response, reply = await infer(self._repository, self._regions, request, context)
        context.set_trailing_metadata((("server-timing", server_timing(reply)),))
        return response


async def infer(
    repository: Repository,
    regions: Regions,
    request: wire.WireRequest,
    context: Context,
    patience: Patience | None = None,
) -> tuple[pb.ModelInferResponse, Reply]:
    """Answer a request, whether it comes alone or in a stream.

    Args:
        repository: has the model.
        regions: the shared memory that may hold tensors.
        request: the message and its raw tensors.
        context: of the call, which has a deadline and a connection.
        patience: of the stream that the request is of.

    Returns:
        The response, and the model's reply that it was made from.

    Raises:
        ServingError: it cannot be answered.
    """
    with _model(repository, request) as model:
        asked = await done(request.size, partial(_read, model, regions, request))
        reply = await model.infer(
            asked.inputs,
            list(asked.outputs),
            deadline_of(context),
            asked.priority,
            asked.timeout,
            origin=Origin(asked.id, traceparent(context)),
            connection=context.peer(),
            patience=patience,
        )
        size = sum(array.nbytes for array in reply.outputs.values())
        return await done(size, partial(respond, asked, reply)), reply


async def done(size: int, work: Callable[[], T]) -> T:
    """Do what so many bytes need: here, or on a thread if they are many."""
    return work() if size <= LARGE else await asyncio.to_thread(work)


class Asked(NamedTuple):
    """What a request asks for, read from its message."""

    model: Model
    inputs: dict[str, Array]
    outputs: dict[str, RequestedOutput]
    priority: int
    timeout: int  # microseconds in the queue
    id: str


def read(repository: Repository, regions: Regions, request: wire.WireRequest) -> Asked:
    """Find the model of a request, and read its tensors and its terms.

    Raises:
        ServingError: it cannot be answered.
    """
    return _read(_model(repository, request), regions, request)


def _model(repository: Repository, request: wire.WireRequest) -> Model:
    return repository.get(request.message.model_name, request.message.model_version)


def _read(model: Model, regions: Regions, request: wire.WireRequest) -> Asked:
    message = request.message
    return Asked(
        model=model,
        inputs=read_inputs(request, model.input, regions),
        outputs=read_outputs(message, model.output, regions),
        priority=parameters.priority(message.parameters),
        timeout=parameters.timeout(message.parameters),
        id=message.id,
    )


def read_plain(model: Model, request: wire.PlainRequest) -> Asked:
    """Read a plain request to a model as `read` does any."""
    return Asked(
        model=model,
        inputs=read_plain_inputs(request, model.input),
        outputs=dict.fromkeys(request.outputs, RequestedOutput()),
        priority=0,
        timeout=0,
        id=request.id,
    )


def respond(asked: Asked, reply: Reply) -> pb.ModelInferResponse:
    """Write the response of a request.

    Raises:
        InvalidRequest: see `write_outputs`.
    """
    response = pb.ModelInferResponse(
        model_name=asked.model.name, model_version=asked.model.version, id=asked.id
    )
    write_outputs(response, reply.outputs, asked.outputs, asked.model)
    return response


def deadline_of(context: Context) -> float | None:
    """Return the caller's deadline on the event loop's clock, in seconds; None if there is none."""
    remaining = context.time_remaining()
    return None if remaining is None else asyncio.get_running_loop().time() + remaining


def server_timing(reply: Reply) -> str:
    """Say where the time went, in milliseconds, as in https://www.w3.org/TR/server-timing/."""
    return f"queue;dur={reply.queue_ns / 1e6:.3f}, compute;dur={reply.compute_ns / 1e6:.3f}"


def _metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )
