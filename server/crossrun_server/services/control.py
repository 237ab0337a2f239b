"""Triton's model repository extension: list, load, unload.

Knows messages; what loading means and when it is allowed is `models.modes`'s business.
"""

from collections.abc import Mapping

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server.errors import InvalidRequest
from crossrun_server.models.modes import Control
from crossrun_server.models.states import State
from crossrun_server.services.edge import Context

CONFIG = "config"
FILE = "file:"
UNLOAD_DEPENDENTS = "unload_dependents"


class ControlService(GRPCInferenceServiceServicer):
    """Lists every model of a repository, and loads and unloads them if the mode allows it."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        """List every version of every model with its state."""
        self._check_repository(request.repository_name)
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=line.name, version=line.version, state=line.state, reason=line.reason
                )
                for line in self._control.repository.index()
                if line.state == State.READY or not request.ready
            ]
        )

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model; if it is loaded already, replace it while it goes on serving."""
        return await self.load(request)

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Take no more requests for a model; no model here depends on another."""
        return await self.unload(request)

    async def load(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        """Do what RepositoryModelLoad asks for, whoever asks.

        Raises:
            ServingError: a parameter is unknown or of the wrong type; or see Control.load.
        """
        self._check_repository(request.repository_name)
        config, files = sent(request.parameters)
        await self._control.load(request.model_name, config, files)
        return pb.RepositoryModelLoadResponse()

    async def unload(
        self, request: pb.RepositoryModelUnloadRequest
    ) -> pb.RepositoryModelUnloadResponse:
        """Do what RepositoryModelUnload asks for, whoever asks.

        Raises:
            ServingError: a parameter is unknown or of the wrong type; or see Control.unload.
        """
        self._check_repository(request.repository_name)
        for name, parameter in request.parameters.items():
            if name != UNLOAD_DEPENDENTS:
                raise InvalidRequest(f"unrecognized unload parameter {name!r}")
            _expect(name, parameter, "bool_param")
        await self._control.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    def _check_repository(self, name: str) -> None:
        root = self._control.repository.root
        if name not in ("", str(root), root.name):
            raise InvalidRequest(f"there is no repository {name!r}, expected none or {root.name!r}")


def sent(
    parameters: Mapping[str, pb.ModelRepositoryParameter],
) -> tuple[str | None, dict[str, bytes] | None]:
    """Read the configuration and the files of a request; each is None if it has none.

    Raises:
        InvalidRequest: a parameter is unknown or of the wrong type.
    """
    config, files = None, {}
    for name, parameter in parameters.items():
        if name == CONFIG:
            config = _expect(name, parameter, "string_param").string_param
        elif name.startswith(FILE):
            content = _expect(name, parameter, "bytes_param").bytes_param
            files[name.removeprefix(FILE)] = content
        else:
            raise InvalidRequest(f"unrecognized load parameter {name!r}")
    return config, files or None


def _expect(
    name: str, parameter: pb.ModelRepositoryParameter, kind: str
) -> pb.ModelRepositoryParameter:
    if parameter.WhichOneof("parameter_choice") != kind:
        raise InvalidRequest(f"invalid value type for parameter {name!r}, expected {kind}")
    return parameter
