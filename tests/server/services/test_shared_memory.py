"""System shared memory over a real connection: regions come and go, where it is enabled."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import Forbidden
from crossrun_server.tensors.shared_memory import MOST_REGIONS, Regions
from tests.support.memory import (
    FOLDER,
    PAGE,
    Create,
    identity,
    put,
    register,
    status,
    unregister,
)
from tests.support.requests import refusal, simple
from tests.support.running import serving

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="this system has no /dev/shm")


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


def test_only_so_many_regions_are_registered(shared: grpc.Channel, create: Create) -> None:
    """One more is refused until another is forgotten."""
    key = create(bytes(8))
    for number in range(MOST_REGIONS):
        register(shared, key, 8, name=f"memory{number}")
    code, details = refusal(lambda: register(shared, key, 8))
    assert code == StatusCode.RESOURCE_EXHAUSTED
    assert details == "512 shared memory regions are registered, which is the most"
    unregister(shared, "memory0")
    register(shared, key, 8)


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


@pytest.mark.parametrize("option", ["crossrun_test_", "/crossrun_test_"])
def test_a_key_begins_as_the_operator_says(
    two_models: Path, log_file: Path, create: Create, option: str
) -> None:
    """Objects of other programs cannot be registered, however their names are written."""
    mine, other = create(bytes(8)), f"/other{create(bytes(8))[1:]}"
    (FOLDER / other[1:]).write_bytes(bytes(8))
    options = ("--shared-memory", "--shared-memory-prefix", option)
    with (
        serving(two_models, log_file, *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        register(channel, mine, 8)
        for key in (other, other[1:], f"//{other[1:]}", ""):
            code, details = refusal(lambda key=key: register(channel, key, 8, name="x"))
            assert code == StatusCode.PERMISSION_DENIED
            assert details.endswith("begin with 'crossrun_test_' (--shared-memory-prefix)")
    (FOLDER / other[1:]).unlink()


def test_an_object_belongs_to_the_server(create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its user or to a group of its: a server that may open all objects opens no others'."""
    regions = Regions(enabled=True)
    key = create(bytes(8))
    found = (FOLDER / key[1:]).stat()
    monkeypatch.setattr(os, "geteuid", lambda: found.st_uid + 1)
    monkeypatch.setattr(os, "getegid", lambda: found.st_gid + 1)
    for groups, belongs in (([], False), ([found.st_gid], True)):
        monkeypatch.setattr(os, "getgroups", lambda groups=groups: groups)
        if belongs:
            regions.register("memory", key, 0, 8)
        else:
            with pytest.raises(Forbidden, match="neither to the server's user nor to a group"):
                regions.register("memory", key, 0, 8)
    assert [region.name for region in regions.status()] == ["memory"]


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
