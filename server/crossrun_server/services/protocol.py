"""inference.GRPCInferenceService, put together from its parts."""

from crossrun_server.models.modes import Control
from crossrun_server.services.control import ModelControl
from crossrun_server.services.edge import InFlight
from crossrun_server.services.inference import Inference
from crossrun_server.services.memory import SharedMemory
from crossrun_server.services.settings import Settings
from crossrun_server.services.statistics import Count, Statistics
from crossrun_server.services.stream import Stream
from crossrun_server.telemetry.logs import Log
from crossrun_server.telemetry.tracing import Tracer
from crossrun_server.tensors.shared_memory import Regions

# What works, under Triton's names; shared memory only where the server was started with it.
EXTENSIONS = (
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
    "trace",
    "logging",
)
SHARED_MEMORY = "system_shared_memory"


class ProtocolService(Inference, Stream, SharedMemory, ModelControl, Statistics, Settings):
    """Answers every RPC of the protocol for one repository."""

    def __init__(  # noqa: PLR0913, PLR0917 - the protocol has that many sides
        self,
        name: str,
        control: Control,
        regions: Regions,
        in_flight: InFlight,
        tracer: Tracer,
        log: Log,
        count: Count,
    ) -> None:
        repository = control.repository
        extensions = (*EXTENSIONS, SHARED_MEMORY) if regions.enabled else EXTENSIONS
        Inference.__init__(self, repository, regions, name, extensions)
        Stream.__init__(self, repository, regions, in_flight)
        SharedMemory.__init__(self, regions)
        ModelControl.__init__(self, control)
        Statistics.__init__(self, repository, count)
        Settings.__init__(self, repository, tracer, log)
