"""Where the sessions of a model run: what config.pbtxt says of it, read as provider requests.

Three ways lead here: `parameters` with the key "providers", Triton's
`optimization.execution_accelerators`, and `instance_group`'s kind; without any of
them the server's own choice holds.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import instance_kinds
from crossrun_server.plans.lane_plan import AUTO, Plan
from crossrun_server.runtime import providers
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.runtime.providers import DEVICE_ID, GRAPHS, Provider, ProviderRequest
from crossrun_server.runtime.session import Threads

log = logging.getLogger(__name__)

Group = pb.ModelInstanceGroup

PROVIDERS, PLAN, BATCH_SIZES = "providers", "plan", "batch_sizes"
TOLERANCE = "proof_tolerance"  # the largest difference that a model's proof may find
RUNNING, LANES, PROVEN = "crossrun.running", "crossrun.plan", "crossrun.proof"
# Triton's names for its ONNX backend.
INTRA_OP, INTER_OP = "intra_op_thread_count", "inter_op_thread_count"
MOST_DIGITS = 4  # of threads
# The option by which a provider is told which card to use.
HAVE_DEVICE_ID = {
    f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "MIGraphX", "ROCM", "Dml")
}


@dataclass(frozen=True)
class SessionConfig:
    """One request of providers for each session (instance) of a model, and its threads."""

    requests: tuple[ProviderRequest, ...]
    threads: Threads
    plan: str = ""  # of lanes in the read of instances; empty where those are given
    batch_sizes: str | None = None  # that runs may have, as given


def read(proto: pb.ModelConfig, default: ProviderRequest) -> SessionConfig:
    """Read where a model's sessions are to run.

    Raises:
        LoadError: a value is malformed, a provider unknown, or two fields contradict each other.
    """
    groups = list(proto.instance_group) or [Group(count=1)]
    requests = [
        request for group in groups for request in _requests(proto, group, default)
        for _ in range(_count(group))
    ]  # fmt: skip
    threads = Threads(_whole_number(proto, INTRA_OP), _whole_number(proto, INTER_OP))
    plan = _plan(proto, len(requests), threads)
    sizes = proto.parameters[BATCH_SIZES].string_value if BATCH_SIZES in proto.parameters else None
    return SessionConfig(tuple(requests), threads, plan, sizes)


def understands(key: str) -> bool:
    """Whether a key of `parameters` says where a model runs."""
    ours = (PROVIDERS, PLAN, BATCH_SIZES, TOLERANCE, RUNNING, LANES, PROVEN)
    known = (*ours, instance_kinds.TOLD, INTRA_OP, INTER_OP)
    return key in known or _is_option(key)


def write(proto: pb.ModelConfig, assignments: Sequence[Assignment], plan: Plan | None) -> None:
    """Put what really runs into a configuration, where clients can read it."""
    if not proto.instance_group:
        proto.instance_group.add()
    instance_kinds.tell(proto, [assignment.on_card for assignment in assignments])
    running = sorted({str(assignment) for assignment in assignments})
    proto.parameters[RUNNING].string_value = "; ".join(running)
    proven = dict.fromkeys(str(assignment.evidence) for assignment in assignments)
    proto.parameters[PROVEN].string_value = "; ".join(proven)
    if plan:
        proto.parameters[LANES].string_value = str(plan)


def _plan(proto: pb.ModelConfig, sessions: int, threads: Threads) -> str:
    """What the configuration says of lanes; one instance, Triton's default, says nothing."""
    given = sessions > 1 or threads != Threads()
    if PLAN not in proto.parameters:
        return "" if given else AUTO
    if given:
        raise LoadError(
            f"parameters {PLAN!r} and instance_group.count, {INTRA_OP} or {INTER_OP} "
            "both say how many sessions and threads there are; expected one of them"
        )
    return proto.parameters[PLAN].string_value


def _requests(
    proto: pb.ModelConfig, group: Group, default: ProviderRequest
) -> list[ProviderRequest]:
    """Give the request of each session of a group; a group of several cards has one for each."""
    request = _wanted(proto, group, default)
    if proto.optimization.cuda.graphs:
        request = _capturing(request, proto.name)
    if not group.gpus:
        return [request]
    if not any(provider.name in HAVE_DEVICE_ID for provider in request.providers):
        raise LoadError(f"instance_group.gpus is for graphics cards, but {request} runs on none")
    return [_on_card(request, card) for card in group.gpus]


def _wanted(proto: pb.ModelConfig, group: Group, default: ProviderRequest) -> ProviderRequest:
    kind = instance_kinds.asked(proto, group)
    accelerators = _accelerators(proto, kind)
    if PROVIDERS in proto.parameters:
        if accelerators:
            raise LoadError(
                "parameters 'providers' and optimization.execution_accelerators "
                "both name execution providers; expected one of them"
            )
        return _agreeing(_from_parameters(proto), kind)
    if accelerators:
        return accelerators
    if kind == Group.KIND_GPU:
        return providers.parse("cuda")
    if kind == Group.KIND_CPU:
        return providers.parse("cpu")
    return default


def _from_parameters(proto: pb.ModelConfig) -> ProviderRequest:
    texts = (
        f"{key}={value.string_value}" for key, value in proto.parameters.items() if _is_option(key)
    )
    return providers.parse(proto.parameters[PROVIDERS].string_value, providers.parse_options(texts))


def _is_option(key: str) -> bool:
    """Whether a key of `parameters` is an option of a provider, as `openvino.device_type`."""
    return "." in key and providers.is_known(key.partition(".")[0])


def _agreeing(request: ProviderRequest, kind: Group.Kind) -> ProviderRequest:
    if kind == Group.KIND_CPU and any(p.name in HAVE_DEVICE_ID for p in request.providers):
        raise LoadError(f"instance_group has KIND_CPU, but parameters 'providers' says {request}")
    if kind == Group.KIND_GPU and {p.name for p in request.providers} == {providers.CPU}:
        raise LoadError(f"instance_group has KIND_GPU, but parameters 'providers' says {request}")
    return request


def _accelerators(proto: pb.ModelConfig, kind: Group.Kind) -> ProviderRequest | None:
    """Read Triton's accelerators: those for the kind of the group, and then the kind's own."""
    listed = proto.optimization.execution_accelerators
    on_gpu = kind == Group.KIND_GPU or (
        kind == Group.KIND_AUTO and bool(listed.gpu_execution_accelerator)
    )
    found = listed.gpu_execution_accelerator if on_gpu else listed.cpu_execution_accelerator
    if not found:
        return None
    names = [accelerator.name for accelerator in found]
    if kind == Group.KIND_GPU and "cuda" not in names:
        names.append("cuda")
    return providers.parse(",".join(names), _accelerator_options(found))


def _accelerator_options(
    accelerators: "Iterable[pb.ModelOptimizationPolicy.ExecutionAccelerators.Accelerator]",
) -> dict[str, dict[str, str]]:
    return {one.name: dict(one.parameters) for one in accelerators if one.parameters}


def _capturing(request: ProviderRequest, name: str) -> ProviderRequest:
    """Let the providers that can capture their runs as CUDA graphs, unless their options say no."""
    if not any(provider.name in GRAPHS for provider in request.providers):
        log.warning("%s: optimization.cuda.graphs has no effect on %s", name, request)
    capturing = (
        Provider(p.name, {GRAPHS[p.name]: "1", **p.options}) if p.name in GRAPHS else p
        for p in request.providers
    )
    return ProviderRequest(tuple(capturing), request.auto)


def _on_card(request: ProviderRequest, card: int) -> ProviderRequest:
    placed = (
        Provider(p.name, {**p.options, DEVICE_ID: str(card)}) if p.name in HAVE_DEVICE_ID else p
        for p in request.providers
    )
    return ProviderRequest(tuple(placed), request.auto)


def _count(group: Group) -> int:
    if group.count < 0:
        raise LoadError(f"instance_group.count is {group.count}, expected 1 or more")
    return group.count or 1


def _whole_number(proto: pb.ModelConfig, key: str) -> int:
    text = proto.parameters[key].string_value if key in proto.parameters else "0"
    if not text.isdecimal() or len(text) > MOST_DIGITS:
        raise LoadError(
            f"parameters {key!r} is {text!r}, expected a whole number of at most "
            f"{MOST_DIGITS} digits"
        )
    return int(text)
