"""TraceSetting and LogSettings: read and change what is traced and logged, while serving."""

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server.models.repository import Repository
from crossrun_server.services.edge import Context
from crossrun_server.telemetry.logs import Log, Value
from crossrun_server.telemetry.tracing import Tracer


class SettingsService(GRPCInferenceServiceServicer):
    """Answers for the tracer and the log of this process."""

    def __init__(self, repository: Repository, tracer: Tracer, log: Log) -> None:
        self._repository = repository
        self._tracer = tracer
        self._log = log

    async def TraceSetting(
        self,
        request: pb.TraceSettingRequest,
        context: Context,
    ) -> pb.TraceSettingResponse:
        """Change what is traced, for one model or for all, and return what is in force."""
        return await self.trace_setting(request)

    async def LogSettings(
        self,
        request: pb.LogSettingsRequest,
        context: Context,
    ) -> pb.LogSettingsResponse:
        """Change what is logged and how, and return what is in force."""
        return await self.log_settings(request)

    async def trace_setting(self, request: pb.TraceSettingRequest) -> pb.TraceSettingResponse:
        """Do what TraceSetting asks for, whoever asks.

        Raises:
            UnknownModel, ModelUnavailable: the model named is not loaded.
            InvalidRequest, NotSupported: see Tracer.change.
        """
        if request.model_name:
            self._repository.find(request.model_name)
        changes = {name: list(setting.value) for name, setting in request.settings.items()}
        if changes:
            self._tracer.change(changes, request.model_name)
        response = pb.TraceSettingResponse()
        for name, values in self._tracer.settings(request.model_name).items():
            response.settings[name].value.extend(values)
        return response

    async def log_settings(self, request: pb.LogSettingsRequest) -> pb.LogSettingsResponse:
        """Do what LogSettings asks for, whoever asks.

        Raises:
            InvalidRequest, NotSupported: see Log.change.
        """
        self._log.change(log_changes(request))
        response = pb.LogSettingsResponse()
        for name, value in self._log.settings().items():
            setattr(response.settings[name], _field(value), value)
        return response


def log_changes(request: pb.LogSettingsRequest) -> dict[str, Value | None]:
    """Return the settings that a request changes, as Log.change takes them."""
    return {name: _value(setting) for name, setting in request.settings.items()}


def _value(setting: pb.LogSettingsRequest.SettingValue) -> Value | None:
    chosen = setting.WhichOneof("parameter_choice")
    return None if chosen is None else getattr(setting, chosen)


def _field(value: Value) -> str:
    if isinstance(value, bool):
        return "bool_param"
    return "uint32_param" if isinstance(value, int) else "string_param"
