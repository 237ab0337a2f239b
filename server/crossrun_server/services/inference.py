"""The Open Inference Protocol v2: what there is, and inference."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server.errors import InvalidRequest, ModelUnavailable
from crossrun_server.repository import Repository
from crossrun_server.scheduler import Reply
from crossrun_server.services.edge import Context
from crossrun_server.services.messages import read_inputs, read_outputs, write_outputs
from crossrun_server.tensors import TensorSpec

EXTENSIONS = ("model_configuration", "schedule_policy")


class Inference(GRPCInferenceServiceServicer):
    """Answers for every model of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def ServerLive(
        self,
        request: pb.ServerLiveRequest,
        context: Context,
    ) -> pb.ServerLiveResponse:
        """Whether the process answers at all."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(
        self,
        request: pb.ServerReadyRequest,
        context: Context,
    ) -> pb.ServerReadyResponse:
        """Whether requests are taken."""
        return pb.ServerReadyResponse(ready=not self._repository.draining)

    async def ModelReady(
        self,
        request: pb.ModelReadyRequest,
        context: Context,
    ) -> pb.ModelReadyResponse:
        """Whether one model takes requests."""
        try:
            self._repository.get(request.name, request.version)
        except ModelUnavailable:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def ServerMetadata(
        self,
        request: pb.ServerMetadataRequest,
        context: Context,
    ) -> pb.ServerMetadataResponse:
        """Name, version and the extensions that work."""
        return pb.ServerMetadataResponse(
            name="crossrun", version=version("crossrun"), extensions=EXTENSIONS
        )

    async def ModelMetadata(
        self,
        request: pb.ModelMetadataRequest,
        context: Context,
    ) -> pb.ModelMetadataResponse:
        """What a model takes and gives."""
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
        """The completed configuration."""
        model = self._repository.find(request.name, request.version)
        return pb.ModelConfigResponse(config=model.config.proto)

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: Context
    ) -> pb.ModelInferResponse:
        """Run a model on one request's tensors."""
        model = self._repository.get(request.model_name, request.model_version)
        inputs = read_inputs(request, model.input)
        reply = await model.infer(
            inputs,
            read_outputs(request),
            deadline_of(context),
            priority_of(request),
            timeout_of(request),
        )
        response = pb.ModelInferResponse(
            model_name=model.name, model_version=model.version, id=request.id
        )
        write_outputs(response, reply.outputs, model.outputs)
        context.set_trailing_metadata((("server-timing", server_timing(reply)),))
        return response


def deadline_of(context: Context) -> float | None:
    """The caller's deadline on the event loop's clock, in seconds."""
    remaining = context.time_remaining()
    return None if remaining is None else asyncio.get_running_loop().time() + remaining


def priority_of(request: pb.ModelInferRequest) -> int:
    """The priority that a request asks for; 0 is the model's default.

    Raises:
        InvalidRequest: it is no whole number of 0 or more.
    """
    return _whole_number(request, "priority", ("int64_param", "uint64_param"))


def timeout_of(request: pb.ModelInferRequest) -> int:
    """How long a request says that it may wait in the queue, in microseconds; 0 says nothing.

    Raises:
        InvalidRequest: it is no whole number of 0 or more.
    """
    return _whole_number(request, "timeout", ("int64_param",))


def _whole_number(request: pb.ModelInferRequest, name: str, kinds: Sequence[str]) -> int:
    if name not in request.parameters:
        return 0
    parameter = request.parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in kinds:
        given = f"comes as {kind}" if kind else "is empty"
        raise InvalidRequest(f"parameter {name!r} {given}, expected {' or '.join(kinds)}")
    number: int = getattr(parameter, kind)
    if number < 0:
        raise InvalidRequest(f"parameter {name!r} is {number}, expected 0 or more")
    return number


def server_timing(reply: Reply) -> str:
    """Where the time went, in milliseconds. Syntax: https://www.w3.org/TR/server-timing/."""
    return f"queue;dur={reply.queue_ns / 1e6:.3f}, compute;dur={reply.compute_ns / 1e6:.3f}"


def _metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )
