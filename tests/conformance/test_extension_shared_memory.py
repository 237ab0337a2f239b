"""The system_shared_memory and cuda_shared_memory extensions."""

from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.memory import (
    ROW,
    SIZE,
    Region,
    fill,
    in_memory,
    output_in_memory,
    place,
    regions,
)
from tests.conformance.messages import Tensor, identity, simple, tensor
from tests.conformance.target import Target

BAD = (StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND)
system = pytest.mark.extension("system_shared_memory")
cuda = pytest.mark.extension("cuda_shared_memory")


@pytest.fixture
def region(target: Target) -> Iterator[Region]:
    """Shared memory that is not registered yet; afterwards it no longer is."""
    if not target.same_host:
        pytest.skip("the target is not on this host")
    probe = pb.SystemSharedMemoryUnregisterRequest(name="oip nothing")
    target.need_switched_on("SystemSharedMemoryUnregister", probe)
    memory = SharedMemory(create=True, size=SIZE)
    made = Region(target, memory)
    try:
        yield made
    finally:
        with suppress(grpc.RpcError):
            made.unregister()
        memory.close()
        memory.unlink()


@system
def test_a_region_is_listed_while_registered(region: Region) -> None:
    """Status tells name, key, offset and size from Register until Unregister."""
    assert region.name not in regions(region.target)
    region.register(offset=16, size=1024)
    expected = (region.key, 16, 1024)
    assert regions(region.target)[region.name] == expected
    assert regions(region.target, region.name) == {region.name: expected}
    region.unregister()
    assert region.name not in regions(region.target)


@system
def test_unregistering_everything(region: Region) -> None:
    """Unregister without a name takes all regions back."""
    region.register()
    region.target.call("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest())
    assert regions(region.target) == {}


@system
def test_unregistering_what_is_not_registered(region: Region) -> None:
    """Unregister of a name that is not there does nothing, and is no error."""
    region.unregister()


@system
def test_the_status_of_an_unknown_region(region: Region) -> None:
    """Status of a name that is not there is NOT_FOUND."""
    message = pb.SystemSharedMemoryStatusRequest(name=region.name)
    code, text = region.target.refusal("SystemSharedMemoryStatus", message)
    assert code == StatusCode.NOT_FOUND
    assert region.name in text


@system
def test_a_name_is_registered_once(region: Region) -> None:
    """A second region under a name is ALREADY_EXISTS, and the first stays."""
    region.register()
    code, text = region.target.refusal("SystemSharedMemoryRegister", region.registration(size=64))
    assert code == StatusCode.ALREADY_EXISTS
    assert region.name in text
    assert regions(region.target)[region.name] == (region.key, 0, SIZE)


@system
@pytest.mark.parametrize(
    ("offset", "size"), [(0, SIZE * 1024), (SIZE * 1024, 16), (2**63, 16), (16, 2**64 - 16)]
)
def test_a_region_beyond_the_memory(region: Region, offset: int, size: int) -> None:
    """A region that does not lie within the memory is refused."""
    message = region.registration(offset, size)
    code, text = region.target.refusal("SystemSharedMemoryRegister", message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert region.name in text
    assert region.name not in regions(region.target)


@system
@pytest.mark.parametrize("key", ["/oip_there_is_no_such_memory", "", "/../etc/passwd"])
def test_memory_that_is_not_there(region: Region, key: str) -> None:
    """A key that opens nothing is an error."""
    message = region.registration()
    message.key = key
    code, _ = region.target.refusal("SystemSharedMemoryRegister", message)
    assert code in (*BAD, StatusCode.INTERNAL)
    assert region.name not in regions(region.target)


@system
@pytest.mark.parametrize("offset", [0, 256])
def test_inputs_in_memory(region: Region, offset: int) -> None:
    """Inputs are read from a region, at an offset where one is given."""
    fill(region, offset)
    region.register()
    answer = region.target.outputs(in_memory(region.name, offset=offset))
    assert answer["OUTPUT0"].values[0, 0] == 6
    assert answer["OUTPUT1"].values[0, 0] == 4


@system
def test_offsets_count_from_the_start_of_the_region(region: Region) -> None:
    """A region's own offset into the memory and a tensor's offset into the region add up."""
    fill(region, at=192)
    region.register(offset=128, size=1024)
    answer = region.target.outputs(in_memory(region.name, offset=64))
    assert answer["OUTPUT0"].values[0, 0] == 6


@system
def test_outputs_in_memory(region: Region) -> None:
    """Outputs are written into a region, and the response says where instead of carrying them."""
    region.register()
    message = simple(5)
    output_in_memory(message, "OUTPUT1", region.name, offset=128)
    response = region.target.infer(message)
    assert np.frombuffer(region.read(ROW, 128), np.int32).tolist() == [4] * 16
    (output,) = response.outputs
    assert (output.datatype, list(output.shape)) == ("INT32", [1, 16])
    assert output.parameters["shared_memory_region"].string_param == region.name
    assert output.parameters["shared_memory_byte_size"].int64_param == ROW
    assert b"".join(response.raw_output_contents) == b""


@system
def test_inputs_and_outputs_in_memory(region: Region) -> None:
    """A request whose tensors all lie in memory carries no data either way."""
    fill(region)
    region.register()
    message = in_memory(region.name)
    output_in_memory(message, "OUTPUT0", region.name, offset=512)
    output_in_memory(message, "OUTPUT1", region.name, offset=1024)
    region.target.infer(message)
    assert np.frombuffer(region.read(ROW, 512), np.int32).tolist() == [6] * 16
    assert np.frombuffer(region.read(ROW, 1024), np.int32).tolist() == [4] * 16


@system
def test_one_output_in_memory_and_one_in_the_message(region: Region) -> None:
    """What is asked for in memory comes there, and what is not comes in the message."""
    region.register()
    message = simple(5)
    output_in_memory(message, "OUTPUT0", region.name)
    message.outputs.add(name="OUTPUT1")
    response = region.target.infer(message)
    place = [output.name for output in response.outputs].index("OUTPUT1")
    assert np.frombuffer(response.raw_output_contents[place], np.int32).tolist() == [4] * 16
    assert np.frombuffer(region.read(ROW), np.int32).tolist() == [6] * 16


@system
def test_strings_in_memory(region: Region) -> None:
    """BYTES lie in memory in their raw form."""
    sent = tensor("x", "BYTES", [b"", "naïve".encode(), b"x" * 100])
    region.register()
    region.write(sent.raw)
    message = identity("BYTES", sent.values.ravel().tolist())
    del message.raw_input_contents[:]
    place(message.inputs[0], region.name, len(sent.raw))
    output_in_memory(message, "y", region.name, size=1024, offset=2048)
    response = region.target.infer(message)
    size = response.outputs[0].parameters["shared_memory_byte_size"].int64_param
    assert region.read(len(sent.raw), 2048) == sent.raw
    assert size in (len(sent.raw), 1024)


@system
@pytest.mark.parametrize(
    ("offset", "size"), [(0, ROW // 2), (0, ROW * 2), (SIZE, ROW), (SIZE - 8, ROW), (-ROW, ROW)]
)
def test_an_input_that_does_not_fit_its_place(region: Region, offset: int, size: int) -> None:
    """A size that is not the tensor's, or a place outside the region, is refused."""
    region.register()
    message = simple(5)
    del message.raw_input_contents[:]
    place(message.inputs[1], region.name, ROW)
    place(message.inputs[0], region.name, size, offset)
    code, _ = region.target.refusal("ModelInfer", message)
    assert code == StatusCode.INVALID_ARGUMENT
    region.target.check_health()


@system
@pytest.mark.parametrize(("offset", "size"), [(0, ROW - 4), (SIZE, ROW), (SIZE - 8, ROW)])
def test_an_output_that_does_not_fit_its_place(region: Region, offset: int, size: int) -> None:
    """An output larger than its place is refused; Triton calls some of these INTERNAL."""
    region.register()
    message = simple(5)
    output_in_memory(message, "OUTPUT0", region.name, size, offset)
    code, _ = region.target.refusal("ModelInfer", message)
    assert code in (StatusCode.INVALID_ARGUMENT, StatusCode.INTERNAL)
    region.target.check_health()


@system
def test_a_region_that_is_not_registered(region: Region) -> None:
    """A region that nobody registered, or that is gone, is refused by name."""
    for gone in (False, True):
        if gone:
            region.register()
            region.unregister()
        code, text = region.target.refusal("ModelInfer", in_memory(region.name))
        assert code in BAD
        assert region.name in text


@system
def test_data_both_in_memory_and_in_the_message(region: Region) -> None:
    """An input in memory with contents in the message as well is refused."""
    fill(region)
    region.register()
    message = in_memory(region.name)
    message.inputs[0].contents.int_contents.extend([5] * 16)
    assert region.target.refusal("ModelInfer", message)[0] == StatusCode.INVALID_ARGUMENT


@system
def test_a_region_without_a_size(region: Region) -> None:
    """Name and size of a region go together; one without the other is refused."""
    region.register()
    message = in_memory(region.name)
    del message.inputs[0].parameters["shared_memory_byte_size"]
    assert region.target.refusal("ModelInfer", message)[0] == StatusCode.INVALID_ARGUMENT


@system
def test_memory_is_read_anew_for_each_request(region: Region) -> None:
    """What is in memory when a request comes is what counts, not what was there before."""
    region.register()
    for value in (1, 2, 3):
        region.write(Tensor("", "INT32", np.full(32, value, np.int32)).raw)
        answer = region.target.outputs(in_memory(region.name))
        assert answer["OUTPUT0"].values[0, 0] == 2 * value


@cuda
def test_cuda_status(target: Target) -> None:
    """Status of CUDA regions answers, with no region where none was registered."""
    answer = target.call("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest())
    assert "oip nothing" not in answer.regions


@cuda
def test_cuda_unregistering_everything(target: Target) -> None:
    """Unregister without a name answers, regions or none."""
    message = pb.CudaSharedMemoryUnregisterRequest()
    target.need_switched_on("CudaSharedMemoryUnregister", message)
    target.call("CudaSharedMemoryUnregister", message)


@cuda
def test_cuda_registering_nonsense(target: Target) -> None:
    """A handle that is none is refused, and the target lives on."""
    message = pb.CudaSharedMemoryRegisterRequest(
        name="oip nothing", raw_handle=b"no handle", device_id=0, byte_size=64
    )
    assert target.refusal("CudaSharedMemoryRegister", message)[0] != StatusCode.UNAVAILABLE
    target.check_health()
