"""inference.GRPCInferenceService, put together from its parts."""

from crossrun_server.repository import Repository
from crossrun_server.services.inference import Inference


class ProtocolService(Inference):
    """Answers every RPC of the protocol for one repository."""

    def __init__(self, repository: Repository) -> None:
        Inference.__init__(self, repository)
