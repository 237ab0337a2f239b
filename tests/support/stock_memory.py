"""What a user of tritonclient does with shared memory; run by test_stock_client.py."""

import os
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as memory
from tritonclient.utils import serialize_byte_tensor

from tests.support.stock_client import FIVES, ONES, check_sums, check_told


def share_sums(client: Any) -> None:
    """Two inputs and one output in shared memory, the other output in the message."""
    given = make_region(client, "given", [FIVES, ONES], 128)
    taken = make_region(client, "taken", [], 64)
    tensors = [triton.InferInput(f"INPUT{i}", [1, 16], "INT32") for i in (0, 1)]
    tensors[0].set_shared_memory("given", 64)
    tensors[1].set_shared_memory("given", 64, offset=64)
    wanted = [triton.InferRequestedOutput(f"OUTPUT{i}") for i in (0, 1)]
    wanted[0].set_shared_memory("taken", 64)
    result = client.infer("simple", tensors, outputs=wanted)
    assert (memory.get_contents_as_numpy(taken, np.int32, [1, 16]) == FIVES + ONES).all()
    assert (result.as_numpy("OUTPUT1") == FIVES - ONES).all()
    assert result.get_output("OUTPUT0").parameters["shared_memory_region"].string_param == "taken"
    assert set(client.get_system_shared_memory_status(as_json=True)["regions"]) == {
        "given",
        "taken",
    }
    client.unregister_system_shared_memory("given")
    assert set(client.get_system_shared_memory_status().regions) == {"taken"}
    let_go(client, given, taken)


def share_strings(client: Any) -> None:
    """Strings go in and come out of shared memory in their wire form."""
    words = np.array([["crossrun", "überlaufen"]], np.object_)
    encoded = serialize_byte_tensor(words)
    size = len(encoded.item())
    both = make_region(client, "words", [encoded], size + 100)
    tensor = triton.InferInput("x", [1, 2], "BYTES")
    tensor.set_shared_memory("words", size)
    wanted = triton.InferRequestedOutput("y")
    wanted.set_shared_memory("words", 100, offset=size)
    output = client.infer("identity_bytes", [tensor], outputs=[wanted]).get_output("y")
    found = memory.get_contents_as_numpy(both, np.object_, output.shape, offset=size)
    assert [word.decode() for word in found.ravel()] == words.ravel().tolist()
    let_go(client, both)


def share_in_turns(client: Any) -> None:
    """The same inputs and outputs are used with shared memory, without it, and with it again."""
    given = make_region(client, "given", [FIVES, ONES], 128)
    taken = make_region(client, "taken", [], 128)
    tensors = [triton.InferInput(f"INPUT{i}", [1, 16], "INT32") for i in (0, 1)]
    wanted = [triton.InferRequestedOutput(f"OUTPUT{i}") for i in (0, 1)]
    for turn in (share, send, share):
        memory.set_shared_memory_region(taken, [np.zeros(32, np.int32)])
        turn(tensors, wanted)
        result = client.infer("simple", tensors, outputs=wanted)
        found = memory.get_contents_as_numpy(taken, np.int32, [2, 16])
        if turn is share:
            assert (found == [FIVES[0] + ONES[0], FIVES[0] - ONES[0]]).all()
        else:
            check_sums(result)
            assert not found.any()
    let_go(client, given, taken)


def share(tensors: list[Any], wanted: list[Any]) -> None:
    for i in (0, 1):
        tensors[i].set_shared_memory("given", 64, offset=64 * i)
        wanted[i].set_shared_memory("taken", 64, offset=64 * i)


def send(tensors: list[Any], wanted: list[Any]) -> None:
    for tensor, output, values in zip(tensors, wanted, (FIVES, ONES), strict=True):
        tensor.set_data_from_numpy(values)
        output.unset_shared_memory()


def let_go(client: Any, *regions: Any) -> None:
    client.unregister_system_shared_memory()
    for region in regions:
        memory.destroy_shared_memory_region(region)


def make_region(client: Any, name: str, arrays: list[Any], byte_size: int) -> Any:
    key = f"/crossrun_stock_{os.getpid()}_{name}"
    region = memory.create_shared_memory_region(name, key, byte_size, create_only=True)
    memory.set_shared_memory_region(region, arrays)
    client.register_system_shared_memory(name, key, byte_size)
    return region


def meet_errors_of_sharing(client: Any) -> None:
    assert not client.get_cuda_shared_memory_status().regions
    client.unregister_cuda_shared_memory("nothing")
    for call, expected in (
        (lambda: client.register_cuda_shared_memory("a", b"AAAA", 0, 8), "takes no CUDA regions"),
        (lambda: client.register_system_shared_memory("a", "/nobody", 8), "Unable to open"),
        (lambda: client.get_system_shared_memory_status("a"), "Unable to find system shared mem"),
    ):
        check_told(call, expected)


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory()
        for step in (share_sums, share_strings, share_in_turns, meet_errors_of_sharing):
            step(client)
            assert not client.get_system_shared_memory_status().regions
    assert not memory.mapped_shared_memory_regions()
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
