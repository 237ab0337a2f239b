"""tensorflow.serving.ModelService: the state of each version of a model."""

from crossrun.tfserving import error_codes_pb2
from crossrun.tfserving import model_service_pb2 as pb
from crossrun.tfserving.model_service_pb2_grpc import ModelServiceServicer
from crossrun_server.errors import NotSupported, UnknownModel
from crossrun_server.models.repository import IndexEntry, Repository
from crossrun_server.models.states import UNKNOWN, UNLOADED, State
from crossrun_server.services.edge import Context
from crossrun_server.services.tfserving import signatures

STATES = {
    State.LOADING: pb.ModelVersionStatus.LOADING,
    State.READY: pb.ModelVersionStatus.AVAILABLE,
    State.UNLOADING: pb.ModelVersionStatus.UNLOADING,
    State.UNAVAILABLE: pb.ModelVersionStatus.END,
}


class ModelService(ModelServiceServicer):
    """Answers for every model of a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def GetModelStatus(
        self, request: pb.GetModelStatusRequest, context: Context
    ) -> pb.GetModelStatusResponse:
        """Say in which state the versions of a model are, the newest first."""
        version = signatures.version_of(request.model_spec)
        found = self._repository.status(request.model_spec.name)
        chosen = [one for one in reversed(found) if version in ("", one.version)]
        if version and not chosen:
            at = f"{request.model_spec.name!r} version {version!r}"
            raise UnknownModel(f"{UNKNOWN} {at} is not found")
        return pb.GetModelStatusResponse(model_version_status=map(_status, chosen))

    async def HandleReloadConfigRequest(
        self, request: pb.ReloadConfigRequest, context: Context
    ) -> pb.ReloadConfigResponse:
        """Refuse: models are those of the repository, and loaded one by one."""
        raise NotSupported(
            "HandleReloadConfigRequest is not supported: models are those of the repository; "
            "RepositoryModelLoad of inference.GRPCInferenceService loads one"
        )


def _status(entry: IndexEntry) -> pb.ModelVersionStatus:
    reason = "" if entry.reason == UNLOADED else entry.reason
    code = error_codes_pb2.UNKNOWN if reason else error_codes_pb2.OK
    return pb.ModelVersionStatus(
        version=int(entry.version or 0),
        state=STATES[State(entry.state)] if entry.state else pb.ModelVersionStatus.START,
        status=pb.StatusProto(error_code=code, error_message=reason),
    )
