"""inference.GRPCInferenceService, put together from the services of its extensions."""

from crossrun_server.models.modes import Control
from crossrun_server.scheduling.in_flight import InFlight
from crossrun_server.services.control import ControlService
from crossrun_server.services.inference import InferenceService
from crossrun_server.services.memory import SharedMemoryService
from crossrun_server.services.settings import SettingsService
from crossrun_server.services.statistics import ReadCounters, StatisticsService
from crossrun_server.services.stream import StreamService
from crossrun_server.telemetry.failures import Failures
from crossrun_server.telemetry.logs import Log
from crossrun_server.telemetry.tracing import Tracer
from crossrun_server.tensors.shared_memory import Regions

# What works, by Triton's names.
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
SHARED_MEMORY = "system_shared_memory"  # only if the server was started with it


class ProtocolService(
    InferenceService,
    StreamService,
    SharedMemoryService,
    ControlService,
    StatisticsService,
    SettingsService,
):
    """Answers every RPC of the protocol for one repository."""

    def __init__(  # noqa: PLR0913 - the protocol has that many sides
        self,
        *,
        name: str,
        front: str,
        control: Control,
        regions: Regions,
        in_flight: InFlight,
        failures: Failures,
        tracer: Tracer,
        log: Log,
        read_counters: ReadCounters,
    ) -> None:
        repository = control.repository
        memory = (SHARED_MEMORY,) if regions.enabled else ()
        extensions = (*EXTENSIONS, *memory, f"front({front})")
        InferenceService.__init__(self, repository, regions, name, extensions)
        StreamService.__init__(self, repository, regions, in_flight, failures)
        SharedMemoryService.__init__(self, regions)
        ControlService.__init__(self, control)
        StatisticsService.__init__(self, repository, read_counters)
        SettingsService.__init__(self, repository, tracer, log)
