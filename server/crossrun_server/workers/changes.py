"""What clients have changed since the start, as the shortest list that brings a worker there.

Holds the calls as they came over the wire. Knows neither processes nor gRPC.
"""

from collections.abc import Iterator
from typing import TypeVar

from crossrun.oip import grpc_service_pb2 as pb

LOAD, UNLOAD = "RepositoryModelLoad", "RepositoryModelUnload"
REGISTER, UNREGISTER = "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"
TRACE, LOG = "TraceSetting", "LogSettings"

Change = (
    pb.RepositoryModelLoadRequest
    | pb.RepositoryModelUnloadRequest
    | pb.SystemSharedMemoryRegisterRequest
    | pb.SystemSharedMemoryUnregisterRequest
    | pb.TraceSettingRequest
    | pb.LogSettingsRequest
)
Call = tuple[str, Change]  # the method's name and its request
Setting = TypeVar("Setting", pb.TraceSettingRequest, pb.LogSettingsRequest)


class Changes:
    """The last word on each model, region and setting."""

    def __init__(self) -> None:
        self.models: dict[str, Call] = {}  # those loaded or unloaded on request
        self._regions: dict[str, pb.SystemSharedMemoryRegisterRequest] = {}
        self._traces: dict[str, pb.TraceSettingRequest] = {}
        self._log = pb.LogSettingsRequest()

    def __iter__(self) -> Iterator[Call]:
        """In an order that can be followed: traces may name a model that has to be there."""
        yield LOG, self._log
        yield from self.models.values()
        yield from ((REGISTER, region) for region in self._regions.values())
        yield from ((TRACE, trace) for trace in self._traces.values())

    def note(self, method: str, request: Change) -> None:
        """Note a call that has been followed."""
        match request:
            case pb.RepositoryModelLoadRequest() | pb.RepositoryModelUnloadRequest():
                self.models[request.model_name] = method, request
            case pb.SystemSharedMemoryRegisterRequest():
                self._regions[request.name] = request
            case pb.SystemSharedMemoryUnregisterRequest():
                self._forget(request.name)
            case pb.TraceSettingRequest():
                name = request.model_name
                self._traces[name] = _merged(self._traces.get(name, request), request)
            case pb.LogSettingsRequest():
                self._log = _merged(self._log, request)

    def _forget(self, region: str) -> None:
        if region:
            self._regions.pop(region, None)
        else:
            self._regions.clear()


def inverse(request: Change) -> Call | None:
    """Give the call that undoes one, where there is such a call and nothing else undoes it."""
    if isinstance(request, pb.SystemSharedMemoryRegisterRequest):
        return UNREGISTER, pb.SystemSharedMemoryUnregisterRequest(name=request.name)
    return None


def _merged(before: Setting, after: Setting) -> Setting:
    """Let the later settings stand before the earlier; those named in both are replaced."""
    merged = type(before)()
    merged.CopyFrom(before)
    for name, setting in after.settings.items():
        merged.settings[name].CopyFrom(setting)
    return merged
