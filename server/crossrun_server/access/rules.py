"""What each RPC needs of its caller. An RPC that is not listed needs the most. Knows names only."""

from dataclasses import dataclass

from crossrun_server.access.callers import Scope

HEALTH, REFLECTION = "health", "reflection"
OPENABLE = (HEALTH, REFLECTION)  # what a file of tokens may open to everybody
# Triton's groups of RPCs, for --grpc-restricted-protocol.
PROTOCOLS = (
    HEALTH, "metadata", "inference", "shared-memory", "model-config", "model-repository",
    "statistics", "trace", "logging",
)  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """Where an answer lists models."""

    field: str  # of the answer
    name: str  # the field of an entry that names its model


@dataclass(frozen=True)
class Rule:
    """What an RPC needs."""

    protocol: str  # Triton's group
    scope: Scope | None  # None: any that is known
    model: str = ""  # the field of the request that names a model, or its path; empty: none does
    unnamed: bool = False  # whether a caller of some models may leave the name out
    listing: Listing | None = None  # entries of other models are left out of the answer
    opened: str = ""  # by which word of OPENABLE it needs no caller


def _read(protocol: str, model: str = "", **more: object) -> Rule:
    return Rule(protocol, Scope.READ, model, **more)  # type: ignore[arg-type]


def _control(protocol: str, model: str = "") -> Rule:
    return Rule(protocol, Scope.CONTROL, model)


_INFERENCE = "inference.GRPCInferenceService"
_VISION, _PROVIDERS = "crossrun.v1.Vision", "crossrun.v1.Providers"
_TFSERVING, _SPEC = "tensorflow.serving", "model_spec.name"
_HEALTH = "grpc.health.v1.Health"
_REFLECTIONS = tuple(f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha"))

_OIP = {
    "ServerLive": Rule(HEALTH, None, opened=HEALTH),
    "ServerReady": Rule(HEALTH, None, opened=HEALTH),
    "ModelReady": Rule(HEALTH, None, "name", opened=HEALTH),
    "ServerMetadata": _read("metadata"),
    "ModelMetadata": _read("metadata", "name"),
    "ModelInfer": Rule("inference", Scope.INFER, "model_name"),
    "ModelStreamInfer": Rule("inference", Scope.INFER, "model_name"),
    "ModelConfig": _read("model-config", "name"),
    "ModelStatistics": _read(
        "statistics", "name", unnamed=True, listing=Listing("model_stats", "name")
    ),
    "RepositoryIndex": _read("model-repository", listing=Listing("models", "name")),
    "RepositoryModelLoad": _control("model-repository", "model_name"),
    "RepositoryModelUnload": _control("model-repository", "model_name"),
    "SystemSharedMemoryStatus": _control("shared-memory"),
    "SystemSharedMemoryRegister": _control("shared-memory"),
    "SystemSharedMemoryUnregister": _control("shared-memory"),
    "CudaSharedMemoryStatus": _control("shared-memory"),
    "CudaSharedMemoryRegister": _control("shared-memory"),
    "CudaSharedMemoryUnregister": _control("shared-memory"),
    "TraceSetting": _control("trace", "model_name"),
    "LogSettings": _control("logging"),
}
_OTHERS = {
    f"{_VISION}/Classify": Rule("inference", Scope.INFER, "model"),
    f"{_VISION}/Detect": Rule("inference", Scope.INFER, "model"),
    f"{_PROVIDERS}/ListProviders": _read("metadata"),
    f"{_PROVIDERS}/ListPlacements": _read(
        "metadata", "model", unnamed=True, listing=Listing("placements", "model")
    ),
    f"{_TFSERVING}.PredictionService/Predict": Rule("inference", Scope.INFER, _SPEC),
    f"{_TFSERVING}.PredictionService/Classify": Rule("inference", Scope.INFER, _SPEC),
    f"{_TFSERVING}.PredictionService/Regress": Rule("inference", Scope.INFER, _SPEC),
    f"{_TFSERVING}.PredictionService/MultiInference": Rule("inference", Scope.INFER),
    f"{_TFSERVING}.PredictionService/GetModelMetadata": _read("metadata", _SPEC),
    f"{_TFSERVING}.ModelService/GetModelStatus": _read("model-repository", _SPEC),
    f"{_TFSERVING}.ModelService/HandleReloadConfigRequest": _control("model-repository"),
    f"{_HEALTH}/Check": Rule(HEALTH, None, "service", unnamed=True, opened=HEALTH),
    f"{_HEALTH}/Watch": Rule(HEALTH, None, "service", unnamed=True, opened=HEALTH),
} | {
    f"{one}/ServerReflectionInfo": Rule("metadata", None, opened=REFLECTION) for one in _REFLECTIONS
}
# By the path of the RPC.
RULES = {f"/{_INFERENCE}/{name}": rule for name, rule in _OIP.items()} | {
    f"/{name}": rule for name, rule in _OTHERS.items()
}
UNLISTED = _control("model-repository")
# The health of a service may be asked by who may ask that of the server.
SERVICES = frozenset(path.split("/")[1] for path in RULES)


def rule_of(method: str) -> Rule:
    """Return what an RPC needs, by its path."""
    return RULES.get(method, UNLISTED)
