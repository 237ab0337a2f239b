"""Requests for tiny models, and how their calls end: knows the messages, not the models' files."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support.running import Server

NUMPY = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32,
    "UINT64": np.uint64, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BF16": np.uint16,
}  # fmt: skip

VALUES: dict[str, list[object]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [-1.5, 65504.0],
    "FP32": [-1.5, 3.0e38],
    "FP64": [-1.5, 1.0e300],
    "BF16": [0x3F80, 0xFF80],  # 1.0 and -infinity, as bits
    "BYTES": [b"", "é\0".encode()],
}


def raw(datatype: str) -> bytes:
    if datatype == "BYTES":
        strings = [v for v in VALUES["BYTES"] if isinstance(v, bytes)]
        return b"".join(len(s).to_bytes(4, "little") + s for s in strings)
    return np.array(VALUES[datatype], NUMPY[datatype]).tobytes()


def simple(*rows: int, outputs: tuple[str, ...] = ()) -> pb.ModelInferRequest:
    """A request to `simple` in which INPUT0 holds the given rows and INPUT1 ones."""
    message = pb.ModelInferRequest(model_name="simple")
    for name, values in (("INPUT0", rows), ("INPUT1", (1,) * len(rows))):
        message.inputs.add(name=name, datatype="INT32", shape=[len(rows), 16])
        message.raw_input_contents.append(np.repeat(np.array(values, np.int32), 16).tobytes())
    for name in outputs:
        message.outputs.add(name=name)
    return message


def gather(index: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="gather")
    message.inputs.add(name="index", datatype="INT64", shape=[1, 1])
    message.raw_input_contents.append(index.to_bytes(8, "little"))
    return message


AGES = 1_000_000  # turns of the slow model: seconds, and on any machine longer than a refusal


def slow(turns: int = AGES, model: str = "slow") -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="turns", datatype="INT64", shape=[1])
    message.raw_input_contents.append(turns.to_bytes(8, "little"))
    return message


def code_of(call: Any) -> StatusCode:
    """Wait for a call to end and tell how."""
    code: StatusCode = call.code()
    return code


def until_running(stub: Stub, request: pb.ModelInferRequest | None = None) -> Any:
    """Send a slow request and come back once it is at work, so that the next one has to wait."""
    request = request or slow()
    call = stub.ModelInfer.future(request)
    while True:
        waiting = stub.ModelInfer.future(slow(1, request.model_name), timeout=0.2)
        if code_of(waiting) == StatusCode.DEADLINE_EXCEEDED:
            return call


def infer(server: Server, *messages: pb.ModelInferRequest) -> None:
    with grpc.insecure_channel(server.address) as channel:
        for message in messages:
            Stub(channel).ModelInfer(message)


def strings(raw: bytes) -> list[str]:
    found = []
    while raw:
        end = 4 + int.from_bytes(raw[:4], "little")
        found.append(raw[4:end].decode())
        raw = raw[end:]
    return found


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> tuple[StatusCode, str]:
    """Make a call that the server refuses; returns the status code and the details."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    assert isinstance(caught.value, grpc.Call)
    return outcome(caught.value)


def outcome(call: Any) -> tuple[StatusCode, str]:
    """Wait for a call to end; returns its status code and its details."""
    return call.code(), call.details() or ""
