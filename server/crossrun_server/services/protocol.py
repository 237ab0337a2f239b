"""inference.GRPCInferenceService, put together from its parts."""

from crossrun_server.modes import Control
from crossrun_server.services.control import ModelControl
from crossrun_server.services.edge import InFlight
from crossrun_server.services.inference import Inference
from crossrun_server.services.memory import SharedMemory
from crossrun_server.services.stream import Stream
from crossrun_server.shared_memory import Regions


class ProtocolService(Inference, Stream, SharedMemory, ModelControl):
    """Answers every RPC of the protocol for one repository."""

    def __init__(self, control: Control, regions: Regions, in_flight: InFlight, name: str) -> None:
        Inference.__init__(self, control.repository, regions, name)
        Stream.__init__(self, control.repository, regions, in_flight)
        SharedMemory.__init__(self, regions)
        ModelControl.__init__(self, control)
