"""Which RPCs answer: those of an announced extension do, those of any other say so at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.target import NOBODY, Target


@dataclass(frozen=True)
class Rpc:
    """An extension's RPC, with a request that changes nothing.

    Args:
        extension: what has to be announced.
        request: makes the request.
        idle: a server without the extension may answer as well: that it has no regions.
    """

    extension: str
    request: Callable[[], Any]
    idle: bool = False


RPCS = {
    "ModelConfig": Rpc("model_configuration", lambda: pb.ModelConfigRequest(name=NOBODY)),
    "ModelStatistics": Rpc("statistics", lambda: pb.ModelStatisticsRequest(name=NOBODY)),
    "RepositoryIndex": Rpc("model_repository", pb.RepositoryIndexRequest),
    "RepositoryModelLoad": Rpc(
        "model_repository", lambda: pb.RepositoryModelLoadRequest(model_name=NOBODY)
    ),
    "RepositoryModelUnload": Rpc(
        "model_repository", lambda: pb.RepositoryModelUnloadRequest(model_name=NOBODY)
    ),
    "SystemSharedMemoryStatus": Rpc(
        "system_shared_memory", pb.SystemSharedMemoryStatusRequest, idle=True
    ),
    "SystemSharedMemoryRegister": Rpc(
        "system_shared_memory", lambda: pb.SystemSharedMemoryRegisterRequest(name="nothing")
    ),
    "SystemSharedMemoryUnregister": Rpc(
        "system_shared_memory", lambda: pb.SystemSharedMemoryUnregisterRequest(name="nothing"),
        idle=True,
    ),
    "CudaSharedMemoryStatus": Rpc(
        "cuda_shared_memory", pb.CudaSharedMemoryStatusRequest, idle=True
    ),
    "CudaSharedMemoryUnregister": Rpc(
        "cuda_shared_memory", lambda: pb.CudaSharedMemoryUnregisterRequest(name="nothing"),
        idle=True,
    ),
    "TraceSetting": Rpc("trace", pb.TraceSettingRequest),
    "LogSettings": Rpc("logging", pb.LogSettingsRequest),
}  # fmt: skip
# What a server that died or hangs looks like.
DEAD = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("rpc", RPCS)
def test_an_rpc_answers_as_announced(target: Target, rpc: str) -> None:
    """An RPC of an announced extension is never UNIMPLEMENTED; any other ends in an error status.

    Status and Unregister of shared memory may answer unannounced, as long as they know no regions:
    clients tidy up with them before they look at what is announced. Triton announces shared
    memory and says UNIMPLEMENTED with "disabled" where it is switched off.
    """
    known = RPCS[rpc]
    if known.extension in target.metadata.extensions:
        target.need_switched_on(rpc, known.request())
        assert target.attempt(rpc, known.request()) is not StatusCode.UNIMPLEMENTED
    elif known.idle:
        answer = target.attempt(rpc, known.request())
        assert answer not in DEAD
        assert not getattr(answer, "regions", None)
    else:
        assert target.refusal(rpc, known.request())[0] not in DEAD
    target.check_health()
