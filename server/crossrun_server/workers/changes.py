"""What clients have changed since the start, as the shortest list of calls that repeats it.

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
    """The last call on each model, region and setting."""

    def __init__(self) -> None:
        self.models: dict[str, Call] = {}  # by name; only those that a client loaded or unloaded
        self._regions: dict[str, pb.SystemSharedMemoryRegisterRequest] = {}
        self._traces: dict[str, pb.TraceSettingRequest] = {}
        self._log = pb.LogSettingsRequest()

    def __iter__(self) -> Iterator[Call]:
        """Iterate in an order that a worker can follow: a trace setting may name a model."""
        yield LOG, self._log
        yield from self.models.values()
        yield from ((REGISTER, region) for region in self._regions.values())
        yield from ((TRACE, trace) for trace in self._traces.values())

    def note(self, method: str, request: Change) -> None:
        """Note a call that all workers have followed."""
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
    """Return the call that undoes a call; None if there is no such call, or no need for it."""
    if isinstance(request, pb.SystemSharedMemoryRegisterRequest):
        return UNREGISTER, pb.SystemSharedMemoryUnregisterRequest(name=request.name)
    return None


def _merged(before: Setting, after: Setting) -> Setting:
    """Add the later settings to the earlier; a setting in both has its later value."""
    merged = type(before)()
    merged.CopyFrom(before)
    for name, setting in after.settings.items():
        merged.settings[name].CopyFrom(setting)
    return merged
