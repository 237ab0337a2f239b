"""Tensors in system shared memory: read from regions and written to them, or refused."""

import os
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.memory import (
    FOLDER,
    PAGE,
    Create,
    content,
    identity,
    put,
    register,
    unregister,
)
from tests.support.requests import VALUES, outcome, raw, refusal, simple, slow, until_running
from tests.support.running import serving

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="this system has no /dev/shm")


@pytest.mark.parametrize("datatype", VALUES)
def test_tensors_of_every_dtype_lie_in_regions(
    shared: grpc.Channel, create: Create, datatype: str
) -> None:
    """An input is read where it lies, at any address, and an output written where it should."""
    data = raw(datatype)
    key = create(b"?" * 3 + data + b"." * (len(data) + 1))
    register(shared, key, len(data) * 2 + 2, offset=2)
    message = identity(datatype, len(data), offset=1)
    message.outputs.add(name="y")
    put(message.outputs[0], len(data) + 1, len(data) + 1)
    reply = Stub(shared).ModelInfer(message)
    assert content(key) == b"?" * 3 + data + data + b"."
    assert list(reply.raw_output_contents) == [b""]
    (output,) = reply.outputs
    assert (output.datatype, list(output.shape)) == (datatype, [1, 2])
    told = {name: value.int64_param for name, value in output.parameters.items()}
    assert output.parameters["shared_memory_region"].string_param == "memory"
    assert told["shared_memory_offset"] == len(data) + 1
    assert told["shared_memory_byte_size"] == len(data)


def test_raw_entries_are_those_of_the_inputs_outside(shared: grpc.Channel, create: Create) -> None:
    """Of two inputs and two outputs one each travels in the message; the entries keep order."""
    register(shared, create(np.full(16, 9, np.int32).tobytes() + bytes(64)), 128)
    message = simple(5, outputs=("OUTPUT0", "OUTPUT1"))
    put(message.inputs[0], 64)
    put(message.outputs[0], 64, 64)
    code, details = refusal(Stub(shared).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == "raw_input_contents has 2 entries for 1 inputs outside shared memory"
    del message.raw_input_contents[0]
    reply = Stub(shared).ModelInfer(message)
    assert [len(entry) for entry in reply.raw_output_contents] == [0, 64]
    assert np.frombuffer(reply.raw_output_contents[1], np.int32).tolist() == [8] * 16
    message.inputs[1].contents.int_contents.extend([2] * 16)
    del message.raw_input_contents[:]
    typed = Stub(shared).ModelInfer(message)
    assert np.frombuffer(typed.raw_output_contents[1], np.int32).tolist() == [7] * 16


def test_an_output_that_does_not_fit_is_refused(shared: grpc.Channel, create: Create) -> None:
    """Nothing is written, and both sizes are told; strings are measured in their wire form."""
    key = create(raw("FP32") + b"." * 8)
    register(shared, key, 16)
    message = identity("FP32", 8)
    message.outputs.add(name="y")
    put(message.outputs[0], 7, 8)
    code, details = refusal(Stub(shared).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == (
        "shared memory size specified with the request for output 'y': "
        "7 bytes should be at least 8 to hold the results"
    )
    assert content(key).endswith(b"." * 8)


def both(message: pb.ModelInferRequest) -> None:
    message.inputs[0].contents.fp32_contents.extend([1, 2])


def classes(message: pb.ModelInferRequest) -> None:
    message.outputs.add(name="y").parameters["classification"].int64_param = 1
    put(message.outputs[0], 8)


def no_size(message: pb.ModelInferRequest) -> None:
    del message.inputs[0].parameters["shared_memory_byte_size"]


def lone_offset(message: pb.ModelInferRequest) -> None:
    del message.inputs[0].parameters["shared_memory_region"]


def typed_size(message: pb.ModelInferRequest) -> None:
    message.inputs[0].parameters["shared_memory_byte_size"].string_param = "8"


MISUSES: dict[str, tuple[Callable[[pb.ModelInferRequest], None], StatusCode, str]] = {
    "unknown region": (
        lambda m: put(m.inputs[0], 8, region="nobody"),
        StatusCode.NOT_FOUND,
        "Unable to find shared memory region: 'nobody'",
    ),
    "offset beyond": (
        lambda m: put(m.inputs[0], 0, 16),
        StatusCode.INVALID_ARGUMENT,
        "Invalid offset for shared memory region: 'memory': 16 in 16 bytes",
    ),
    "negative offset": (
        lambda m: put(m.inputs[0], 8, -1),
        StatusCode.INVALID_ARGUMENT,
        "Invalid offset for shared memory region: 'memory': -1 in 16 bytes",
    ),
    "size beyond": (
        lambda m: put(m.inputs[0], 8, 9),
        StatusCode.INVALID_ARGUMENT,
        "Invalid offset + byte size for shared memory region: 'memory': 9 + 8 in 16 bytes",
    ),
    "negative size": (
        lambda m: put(m.inputs[0], -1, 9),
        StatusCode.INVALID_ARGUMENT,
        "Invalid offset + byte size for shared memory region: 'memory': 9 + -1 in 16 bytes",
    ),
    "not the shape's size": (
        lambda m: put(m.inputs[0], 12),
        StatusCode.INVALID_ARGUMENT,
        "input 'x': 8 bytes expected for FP32 [1, 2], got 12",
    ),
    "no size": (
        no_size,
        StatusCode.INVALID_ARGUMENT,
        "'shared_memory_byte_size' must be specified along with 'shared_memory_region' "
        "parameter for tensor 'x'",
    ),
    "no region": (
        lone_offset,
        StatusCode.INVALID_ARGUMENT,
        "'shared_memory_offset' can not be specified without 'shared_memory_region' "
        "parameter for tensor 'x'",
    ),
    "a size in words": (
        typed_size,
        StatusCode.INVALID_ARGUMENT,
        "invalid value type for 'shared_memory_byte_size' parameter, expected int64_param",
    ),
    "typed too": (
        both,
        StatusCode.INVALID_ARGUMENT,
        "input 'x' is given both in shared memory and typed",
    ),
    "classes": (
        classes,
        StatusCode.INVALID_ARGUMENT,
        "output 'y' can't set both 'shared_memory_region' and 'classification'",
    ),
}


@pytest.mark.parametrize("case", MISUSES)
def test_a_tensor_outside_its_region_is_refused(
    shared: grpc.Channel, create: Create, case: str
) -> None:
    """Whatever does not lie in a registered region is named."""
    register(shared, create(bytes(16)), 16)
    message = identity("FP32", 8)
    misuse, code, details = MISUSES[case]
    misuse(message)
    assert refusal(Stub(shared).ModelInfer, message) == (code, details)


def test_an_object_that_shrinks_kills_nobody(shared: grpc.Channel, create: Create) -> None:
    """A client that truncates its object gets an error; the server lives on."""
    key = create(bytes(2 * PAGE))
    register(shared, key, PAGE, offset=PAGE)
    os.truncate(FOLDER / key[1:], 8)
    code, details = refusal(Stub(shared).ModelInfer, identity("FP32", 8))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == (
        f"shared memory region 'memory' lies beyond the end of {key!r}, which has shrunk to 8 bytes"
    )
    assert Stub(shared).ServerLive(pb.ServerLiveRequest()).live


def test_a_region_forgotten_in_use_is_written_all_the_same(tmp_path: Path, create: Create) -> None:
    """Unregistered and unlinked while a request runs, it serves that request to its end."""
    models.write(tmp_path / "m", "slow", models.slow(), models.SLOW_CONFIG)
    with serving(tmp_path / "m", tmp_path / "log", "--shared-memory") as server:
        with grpc.insecure_channel(server.address) as channel:
            key = create((1_000_000).to_bytes(8, "little") + bytes(4))
            register(channel, key, 12)
            message = slow()
            del message.raw_input_contents[:]
            put(message.inputs[0], 8)
            message.outputs.add(name="y")
            put(message.outputs[0], 4, 8)
            with (FOLDER / key[1:]).open("rb") as kept:
                running = until_running(Stub(channel), message)
                unregister(channel)
                (FOLDER / key[1:]).unlink()
                assert not running.done()
                assert list(running.result().raw_output_contents) == [b""]
                assert np.frombuffer(kept.read()[8:], np.float32) == 1_000_000
            assert refusal(Stub(channel).ModelInfer, message)[0] == StatusCode.NOT_FOUND
        assert server.stop() == 0


def test_an_object_that_shrinks_during_a_run_kills_nobody(tmp_path: Path, create: Create) -> None:
    """Its answer has no room any more, which is the caller's mistake; the server lives on."""
    models.write(tmp_path / "m", "slow", models.slow(), models.SLOW_CONFIG)
    with serving(tmp_path / "m", tmp_path / "log", "--shared-memory") as server:
        with grpc.insecure_channel(server.address) as channel:
            key = create(bytes(2 * PAGE))
            register(channel, key, 2 * PAGE)
            message = slow()
            message.outputs.add(name="y")
            put(message.outputs[0], 4, PAGE)
            running = until_running(Stub(channel), message)
            os.truncate(FOLDER / key[1:], 0)
            code, details = outcome(running)
            assert code == StatusCode.INVALID_ARGUMENT
            assert details.endswith("which has shrunk to 0 bytes")
            assert content(key) == b""
            assert Stub(channel).ServerLive(pb.ServerLiveRequest()).live
        assert server.stop() == 0


def test_a_tensor_in_a_region_has_a_limit(shared: grpc.Channel, create: Create) -> None:
    """An object of any size costs a client nothing, so the server does not copy as it says."""
    key = create(b"")
    os.truncate(FOLDER / key[1:], 1 << 36)
    register(shared, key, 1 << 36)
    for datatype, shape in (("UINT8", [1, 1 << 36]), ("BYTES", [1, 2])):
        message = identity(datatype, 1 << 36)
        message.inputs[0].shape[:] = shape
        code, details = refusal(Stub(shared).ModelInfer, message)
        assert code == StatusCode.INVALID_ARGUMENT
        assert details == (
            "a tensor of 68719476736 bytes in shared memory region 'memory', "
            "expected 268435456 at most"
        )
