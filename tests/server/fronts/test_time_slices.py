"""The native front end's thread gets a core at once, whatever computes: Linux 6.12 and newer."""

import ctypes
import platform
import struct
from pathlib import Path

import grpc
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from tests.support import models
from tests.support.running import serving

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}  # the number of the system call
SIZE, RUNTIME = 48, 24  # bytes of `struct sched_attr`, and where the slice is in it


def time_slice(thread: int) -> int:
    """The nanoseconds that Linux lets a thread run before others."""
    attributes = ctypes.create_string_buffer(SIZE)
    call = SCHED_GETATTR[platform.machine()]
    assert ctypes.CDLL(None).syscall(call, thread, attributes, SIZE, 0) == 0
    (runtime,) = struct.unpack_from("=Q", attributes, RUNTIME)
    assert isinstance(runtime, int)
    return runtime


def answered(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        assert GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest()).live


def takes_wishes() -> bool:
    if platform.system() != "Linux" or platform.machine() not in SCHED_GETATTR:
        return False
    return tuple(map(int, platform.release().split(".")[:2])) >= (6, 12)


@pytest.mark.skipif(not takes_wishes(), reason="this system takes no wishes for time slices")
def test_the_thread_of_the_network_may_interrupt_those_that_compute(tmp_path: Path) -> None:
    """Its slice is the shortest of the process, and all others have long ones."""
    pytest.importorskip("crossrun_front", reason="the native front end is not installed")
    models.write(tmp_path / "m", "gather", models.gather(), "max_batch_size: 8")
    with serving(tmp_path / "m", tmp_path / "log", "--front", "native") as served:
        answered(served.address)  # by the front's thread: so it has begun
        threads = list(Path(f"/proc/{served.process.pid}/task").iterdir())
        named = [((one / "comm").read_text().strip(), time_slice(int(one.name))) for one in threads]
    slices = {"front": [ns for name, ns in named if name == "front"]}
    slices["others"] = [ns for name, ns in named if name != "front"]
    assert slices["front"] == [100_000]
    assert set(slices["others"]) == {10_000_000}
