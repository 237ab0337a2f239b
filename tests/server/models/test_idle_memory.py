"""An idle server gives back the memory that its largest requests took."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.running import Server, serving

WIDE = 1 << 20  # numbers, so that a row takes some times four megabytes
ROWS = 32


def wide(rows: str | int = "batch") -> onnx.ModelProto:
    """`x` FP32 [batch, 1] → `y` of its shape: as often as WIDE says, in memory, and then added."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 1]) for name in "xy"]
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["many"]),
        helper.make_node("Sin", ["many"], ["more"]),
        helper.make_node("ReduceSum", ["more", "axes"], ["y"], keepdims=1),
    ]
    numbers = [
        helper.make_tensor("shape", TensorProto.INT64, [2], [1, WIDE]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    return models.model_of(nodes, values[:1], values[1:], numbers)


@pytest.fixture
def wide_served(front: str, tmp_path: Path) -> Iterator[Server]:
    """A server of `wide`, and of `same`, which answers what it is asked; each has one session."""
    config = "max_batch_size: 32\n" + models.ONE_AT_A_TIME
    models.write(tmp_path / "m", "wide", wide(), config)
    same = models.identity(TensorProto.UINT8, ["batch", "width"])
    models.write(tmp_path / "m", "same", same, config)
    with serving(tmp_path / "m", tmp_path / "log", "--front", front) as running:
        yield running


def request(rows: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="wide")
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 1])
    message.raw_input_contents.append(np.ones(rows, np.float32).tobytes())
    return message


def large() -> pb.ModelInferRequest:
    """A request of twenty megabytes."""
    message = pb.ModelInferRequest(model_name="same")
    message.inputs.add(name="x", datatype="UINT8", shape=[1, 20 << 20])
    message.raw_input_contents.append(bytes(20 << 20))
    return message


def resident(server: Server) -> int:
    rss: int = psutil.Process(server.process.pid).memory_info().rss
    return rss


@pytest.mark.timeout(120)
def test_an_idle_server_is_as_small_as_at_first(wide_served: Server) -> None:
    """After batches of 32 and a moment of quiet, it has a fifth more than at its start, at most."""
    with grpc.insecure_channel(wide_served.address) as channel:
        stub = Stub(channel)
        stub.ModelInfer(request(1))
        before = resident(wide_served)
        for _ in range(3):
            stub.ModelInfer(request(ROWS))
        assert resident(wide_served) > 1.5 * before
        while resident(wide_served) > 1.2 * before:
            time.sleep(0.1)
        stub.ModelInfer(request(1))


@pytest.mark.timeout(120)
def test_large_requests_leave_nothing_behind(wide_served: Server) -> None:
    """The buffers of the front end and the tensors are the system's again, each time."""
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(wide_served.address, unlimited) as channel:
        stub = Stub(channel)
        stub.ModelInfer(request(1))
        before = resident(wide_served)
        for _ in range(2):
            for call in [stub.ModelInfer.future(large()) for _ in range(8)]:
                call.result()
            while resident(wide_served) > 1.2 * before:
                time.sleep(0.1)
