"""System shared memory over a real connection: regions come and go, tensors live in them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.memory import FOLDER, Create, content, register, status, unregister
from tests.support.requests import VALUES, raw, refusal, simple, slow, until_running
from tests.support.running import Server, serving

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="this system has no /dev/shm")
PAGE = 4096


@pytest.fixture(scope="module")
def sharing(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose clients may use shared memory."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serving(tiny_models, log, "--shared-memory") as running:
        yield running


@pytest.fixture
def shared(sharing: Server) -> Iterator[grpc.Channel]:
    """A channel to it; whatever was registered is forgotten at the end."""
    with grpc.insecure_channel(sharing.address) as channel:
        yield channel
        Stub(channel).SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())


def put(
    tensor: Any, byte_size: int | None, offset: int | None = None, region: str = "memory"
) -> None:
    """Say of an input or output that it lies in a region."""
    tensor.parameters["shared_memory_region"].string_param = region
    if byte_size is not None:
        tensor.parameters["shared_memory_byte_size"].int64_param = byte_size
    if offset is not None:
        tensor.parameters["shared_memory_offset"].int64_param = offset


def identity(datatype: str, size: int, offset: int = 0) -> pb.ModelInferRequest:
    """A request whose input is `size` bytes of the region "memory"."""
    message = pb.ModelInferRequest(model_name=f"identity_{datatype.lower()}")
    message.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    put(message.inputs[0], size, offset)
    return message


def test_regions_come_and_go(shared: grpc.Channel, create: Create) -> None:
    """Status tells what is registered, all or one; Unregister forgets one or all."""
    key = create(bytes(3 * PAGE))
    register(shared, key, 100)
    register(shared, key, PAGE, offset=PAGE + 3, name="other")
    assert status(shared) == {"memory": (key, 0, 100), "other": (key, PAGE + 3, PAGE)}
    assert status(shared, "other") == {"other": (key, PAGE + 3, PAGE)}
    unregister(shared, "other")
    unregister(shared, "other")  # as with Triton, no error
    assert status(shared).keys() == {"memory"}
    assert refusal(lambda: status(shared, "other")) == (
        StatusCode.NOT_FOUND,
        "Unable to find system shared memory region: 'other'",
    )
    unregister(shared)
    assert status(shared) == {}


def test_a_name_is_given_once(shared: grpc.Channel, create: Create) -> None:
    """A region is not silently replaced by another of its name."""
    key = create(bytes(8))
    register(shared, key, 8)
    assert refusal(lambda: register(shared, key, 4)) == (
        StatusCode.ALREADY_EXISTS,
        "shared memory region 'memory' already in manager",
    )
    assert status(shared) == {"memory": (key, 0, 8)}
    code, details = refusal(lambda: register(shared, key, 4, name=""))
    assert (code, details) == (
        StatusCode.INVALID_ARGUMENT,
        "cannot register a shared memory region without a name",
    )


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 9), (8, 1), (0, 0), (2**64 - 1, 2**64 - 1), (9, 0)]
)
def test_a_region_lies_within_its_object(
    shared: grpc.Channel, create: Create, offset: int, size: int
) -> None:
    """Offset and size beyond the object, and a size of nothing, are refused."""
    key = create(bytes(8))
    code, details = refusal(lambda: register(shared, key, size, offset))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == (
        "failed to register shared memory region 'memory': invalid args: "
        f"offset {offset} and byte_size {size} in the 8 bytes of {key!r}"
    )


@pytest.mark.parametrize("key", ["", "/", "..", "/../../etc/passwd", "/a/b", "/.", "a\0b"])
def test_a_key_names_no_file_outside(shared: grpc.Channel, key: str) -> None:
    """A key is the name of an object and never a path."""
    code, details = refusal(lambda: register(shared, key, 1))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == f"cannot register shared memory region 'memory' - invalid shm key {key!r}"


def test_a_key_is_that_of_an_object(shared: grpc.Channel, create: Create, tmp_path: Path) -> None:
    """One that does not exist, a link to elsewhere, a folder and a pipe are refused."""
    assert refusal(lambda: register(shared, "/crossrun_nobody", 1)) == (
        StatusCode.NOT_FOUND,
        "Unable to open shared memory region: '/crossrun_nobody': there is no such object",
    )
    (tmp_path / "secret").write_bytes(bytes(8))
    makers: dict[str, Callable[[Path], None]] = {
        "Too many levels of symbolic links": lambda path: path.symlink_to(tmp_path / "secret"),
        "Is a directory": Path.mkdir,
        "not a shared memory object": os.mkfifo,
    }
    for expected, make in makers.items():
        path = FOLDER / create(b"")[1:]
        path.unlink()
        make(path)
        code, details = refusal(lambda path=path: register(shared, path.name, 1))
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        assert (code, details.endswith(expected)) == (StatusCode.INVALID_ARGUMENT, True), details


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


def test_cuda_regions_are_none_and_cannot_be(shared: grpc.Channel) -> None:
    """On any machine: Status is empty, Unregister works, Register says what to use instead."""
    stub = Stub(shared)
    assert not stub.CudaSharedMemoryStatus(pb.CudaSharedMemoryStatusRequest()).regions
    stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest())
    stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest(name="a"))
    named = pb.CudaSharedMemoryStatusRequest(name="a")
    assert refusal(lambda: stub.CudaSharedMemoryStatus(named)) == (
        StatusCode.NOT_FOUND,
        "Unable to find cuda shared memory region: 'a'",
    )
    request = pb.CudaSharedMemoryRegisterRequest(name="a", raw_handle=bytes(64), byte_size=8)
    code, details = refusal(lambda: stub.CudaSharedMemoryRegister(request))
    assert code == StatusCode.INVALID_ARGUMENT
    assert "this server takes no CUDA regions; register system shared memory instead" in details


def test_shared_memory_has_to_be_enabled(channel: grpc.Channel, create: Create) -> None:
    """Without the option each of its RPCs, and a tensor in a region, tell how to enable it."""
    stub = Stub(channel)
    output = simple(5, outputs=("OUTPUT0",))
    put(output.outputs[0], 64)
    calls: list[Callable[[], Any]] = [
        lambda: register(channel, create(bytes(8)), 8),
        lambda: unregister(channel),
        lambda: status(channel),
        lambda: stub.CudaSharedMemoryStatus(pb.CudaSharedMemoryStatusRequest()),
        lambda: stub.CudaSharedMemoryRegister(pb.CudaSharedMemoryRegisterRequest(name="a")),
        lambda: stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest()),
        lambda: stub.ModelInfer(identity("FP32", 8)),
        lambda: stub.ModelInfer(output),
    ]
    for call in calls:
        assert refusal(call) == (
            StatusCode.UNIMPLEMENTED,
            "Client shared memory is disabled. Start the server with '--shared-memory' to enable.",
        )


def test_the_extension_is_announced_where_it_works(
    shared: grpc.Channel, channel: grpc.Channel
) -> None:
    """Only a server that takes regions says so, and none claims CUDA's."""
    enabled, disabled = (
        set(Stub(c).ServerMetadata(pb.ServerMetadataRequest()).extensions)
        for c in (shared, channel)
    )
    assert enabled - disabled == {"system_shared_memory"}
    assert {"classification", "parameters"} <= disabled
    assert "cuda_shared_memory" not in enabled
