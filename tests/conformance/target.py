"""The server under test, and what it says it can do. Knows no server in particular."""

import re
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.conformance.messages import Tensor, read, simple

SERVICE = "inference.GRPCInferenceService"
NOBODY = "oip_nobody"  # a model that no target serves
LIMIT = 60.0  # seconds; a call that takes longer hangs
UNLIMITED = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class Target:
    """A connection to the server under test.

    Args:
        address: HOST:PORT.
        complete: it serves every model of the suite; one that it lacks is then a failure.
        same_host: it can open this machine's shared memory.
    """

    def __init__(self, address: str, complete: bool, same_host: bool) -> None:
        self.address = address
        self.same_host = same_host
        self._complete = complete
        self._served: dict[str, bool] = {}

    @cached_property
    def channel(self) -> grpc.Channel:
        """The connection of all cases that need none of their own."""
        return self.connect()

    @cached_property
    def _stub(self) -> Any:
        return Stub(self.channel)

    def connect(self) -> grpc.Channel:
        """Open a channel of its own to the target."""
        return grpc.insecure_channel(
            self.address, (*UNLIMITED, ("grpc.use_local_subchannel_pool", 1))
        )

    def close(self) -> None:
        """Close what is open."""
        if "channel" in self.__dict__:  # it has been asked for
            self.channel.close()

    def answers(self) -> bool:
        """Whether there is a server at all."""
        try:
            self.call("ServerLive", pb.ServerLiveRequest())
        except grpc.RpcError as error:
            return code_of(error) not in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)
        return True

    def call(self, rpc: str, message: Any, **options: Any) -> Any:
        """Call an RPC by its name, with grpc's options; what goes wrong is a grpc.RpcError."""
        return getattr(self._stub, rpc)(message, **{"timeout": LIMIT, **options})

    def future(self, message: pb.ModelInferRequest, timeout: float = LIMIT) -> Any:
        """Send an inference without waiting for it."""
        self.need(message.model_name)
        return self._stub.ModelInfer.future(message, timeout=timeout)

    def infer(self, message: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """Run an inference that has to succeed."""
        self.need(message.model_name)
        response: pb.ModelInferResponse = self.call("ModelInfer", message)
        return response

    def outputs(self, message: pb.ModelInferRequest) -> dict[str, Tensor]:
        """Run an inference that has to succeed and read what came of it."""
        return read(self.infer(message))

    def stream(self, messages: Any) -> Any:
        """Open ModelStreamInfer on an iterator of requests."""
        return self._stub.ModelStreamInfer(messages, timeout=LIMIT)

    def attempt(self, rpc: str, message: Any) -> Any:
        """Call an RPC that may be refused; gives the response or the status code."""
        try:
            return self.call(rpc, message)
        except grpc.RpcError as error:
            return code_of(error)

    def bytes_call(self, rpc: str, data: bytes) -> StatusCode:
        """Send bytes that need not be a message to an RPC that need not exist."""
        method: Any = self.channel.unary_unary(f"/{SERVICE}/{rpc}")
        try:
            method(data, timeout=LIMIT)
        except grpc.RpcError as error:
            return code_of(error)
        return StatusCode.OK

    def refusal(self, rpc: str, message: Any) -> tuple[StatusCode, str]:
        """Call an RPC that has to fail; gives status code and text."""
        return failure(lambda: self.call(rpc, message), f"{rpc} answered as if all were well")

    def check_refused(
        self,
        message: pb.ModelInferRequest,
        names: tuple[str, ...],
        codes: Collection[StatusCode] = (StatusCode.INVALID_ARGUMENT,),
    ) -> None:
        """Fail the test unless an inference is refused, by name, and the target lives on.

        Args:
            message: what cannot be answered; its model is one of the suite's or nobody's.
            names: the text has to hold one of these.
            codes: the status has to be one of these.
        """
        if message.model_name not in ("", NOBODY):
            self.need(message.model_name)
        code, text = self.refusal("ModelInfer", message)
        assert code in codes, f"{code.name}: {text}"
        assert any(_names(text, name) for name in names), f"{text!r} names none of {names}"
        self.check_health()

    def ready(self, model: str, version: str = "") -> bool:
        """Whether a model takes requests; one that is not there does not."""
        message = pb.ModelReadyRequest(name=model, version=version)
        try:
            return bool(self.call("ModelReady", message).ready)
        except grpc.RpcError as error:
            if code_of(error) == StatusCode.NOT_FOUND:
                return False
            raise

    def need(self, model: str) -> None:
        """Skip the test if the target does not serve a model."""
        if not self._serves(model):
            reason = f"the target does not serve {model}"
            pytest.fail(reason) if self._complete else pytest.skip(reason)

    def need_extension(self, name: str) -> None:
        """Skip the test if the target does not announce an extension."""
        if name not in self.metadata.extensions:
            pytest.skip(f"the target does not announce {name}")

    def need_switched_on(self, rpc: str, message: Any) -> None:
        """Skip the test if an RPC says that its feature is disabled, as Triton's do."""
        try:
            self.call(rpc, message)
        except grpc.RpcError as error:
            if code_of(error) == StatusCode.UNIMPLEMENTED and "disabled" in _details(error):
                pytest.skip(f"the target has {rpc} switched off")

    def check_health(self) -> None:
        """Fail the test unless the target still answers, and rightly."""
        assert self.call("ServerLive", pb.ServerLiveRequest()).live
        if self._serves("oip_simple"):
            answer = read(self.call("ModelInfer", simple(20)))
            assert answer["OUTPUT0"].values.ravel().tolist() == [21] * 16

    @cached_property
    def metadata(self) -> pb.ServerMetadataResponse:
        """What the target says of itself."""
        response: pb.ServerMetadataResponse = self.call(
            "ServerMetadata", pb.ServerMetadataRequest()
        )
        return response

    def _serves(self, model: str) -> bool:
        if model not in self._served:
            self._served[model] = self._ask(model)
        return self._served[model]

    def _ask(self, model: str) -> bool:
        try:
            return self.ready(model)
        except grpc.RpcError as error:
            # A server without ModelReady may well serve the model; the test will tell.
            return code_of(error) == StatusCode.UNIMPLEMENTED


def failure(call: Callable[[], object], otherwise: str) -> tuple[StatusCode, str]:
    """Make a call that has to fail; gives status code and text."""
    try:
        call()
    except grpc.RpcError as error:
        return code_of(error), _details(error)
    pytest.fail(otherwise)


def code_of(error: grpc.RpcError) -> StatusCode:
    """The status code of a failed call."""
    code: StatusCode = error.code()
    return code


def _details(error: grpc.RpcError) -> str:
    return error.details() or ""


def _names(text: str, name: str) -> bool:
    """Whether a text holds a name as a word of its own."""
    return bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text))
