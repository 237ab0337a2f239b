"""ModelStreamInfer: the requests of a stream run side by side, and are answered in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
from google.protobuf.message import DecodeError

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server.errors import ServingError
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.in_flight import InFlight
from crossrun_server.scheduling.patience import Patience
from crossrun_server.services import wire
from crossrun_server.services.edge import Context, told
from crossrun_server.services.inference import infer
from crossrun_server.telemetry.failures import Failures
from crossrun_server.tensors.shared_memory import Regions

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
# What a stream has at work; further requests wait in the client's transport.
CONCURRENT = 64  # requests
AT_WORK = 16 << 20  # bytes of them and of answers that the client has not taken; one may be larger


class Room:
    """What a stream has at work."""

    def __init__(self) -> None:
        self.shares = self.size = 0
        self.left = asyncio.Event()
        self.patience = Patience()

    async def wait(self, size: int) -> None:
        """Wait until there is room for a request of so many bytes; if it is alone, there is."""
        while self.shares and (self.shares == CONCURRENT or self.size + size > AT_WORK):
            self.left.clear()
            await self.left.wait()


class Share:
    """The room that one request takes."""

    def __init__(self, room: Room, size: int) -> None:
        self._room, self._size = room, 0
        self.patience = room.patience
        room.shares += 1
        self.grow(size)

    def grow(self, size: int) -> None:
        """Take so many bytes more, whatever there is."""
        self._size += size
        self._room.size += size

    def give_back(self, _: object) -> None:
        """Leave room to others."""
        self._room.shares -= 1
        self._room.size -= self._size
        self._room.left.set()


def _size(request: wire.WireRequest) -> int:
    return request.message.ByteSize() + sum(len(tensor) for tensor in request.raw)


class StreamService(GRPCInferenceServiceServicer):
    """Answers streams of requests to the models of a repository."""

    def __init__(
        self, repository: Repository, regions: Regions, in_flight: InFlight, failures: Failures
    ) -> None:
        self._repository = repository
        self._regions = regions
        self._in_flight = in_flight
        self._failures = failures

    async def ModelStreamInfer(
        self, requests: AsyncIterator[wire.WireRequest], context: Context
    ) -> None:
        """Answer each request of a stream; an error ends only the request that has it.

        If the client sends the metadata `triton_grpc_error: true`, the first error ends the
        stream with its status code. A request that cannot be read, or that the caller may not
        make, ends it as well, once those before it are answered.
        """
        room, refused = Room(), None
        answered: asyncio.Task[None] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    async for request in requests:
                        size = _size(request)
                        await room.wait(size)
                        share = Share(room, size)
                        answering = self._answer(request, share, answered, context)
                        answered = group.create_task(answering)
                        answered.add_done_callback(share.give_back)
                except (ServingError, DecodeError) as error:
                    refused = error  # grpc.aio may hang if an answer is cancelled as it is written
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if refused is not None:
            raise refused

    async def _answer(
        self,
        request: wire.WireRequest,
        share: Share,
        previous: asyncio.Task[None] | None,
        context: Context,
    ) -> None:
        """Work on a request at once, and write its answer after the previous answer."""
        with self._in_flight:
            try:
                response, _ = await infer(
                    self._repository, self._regions, request, context, share.patience
                )
                answer = pb.ModelStreamInferResponse(infer_response=response)
            except Exception as error:
                if _ends_at_errors(context):
                    await _written(previous)
                    raise
                answer = self._failure(request.message, error, context)
            share.grow(answer.ByteSize())
            answer.infer_response.parameters["triton_final_response"].bool_param = True
            await _written(previous)
            with suppress(grpc.aio.InternalError):  # the client has left; the stream ends soon
                await context.write(answer)

    def _failure(
        self, request: pb.ModelInferRequest, error: Exception, context: Context
    ) -> pb.ModelStreamInferResponse:
        """Make the answer that says what was wrong, and with which request."""
        _, text = told(self._failures, error, METHOD, context, lambda: request.id)
        return pb.ModelStreamInferResponse(
            error_message=text,
            infer_response=pb.ModelInferResponse(
                id=request.id, model_name=request.model_name, model_version=request.model_version
            ),
        )


async def _written(answer: asyncio.Task[None] | None) -> None:
    if answer is not None:
        await answer


def _ends_at_errors(context: Context) -> bool:
    return ("triton_grpc_error", "true") in (context.invocation_metadata() or ())
