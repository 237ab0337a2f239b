"""How the sessions of a model are to run: what config.pbtxt says of providers, threads and lanes.

Providers come from `parameters` with the key "providers", from Triton's
`optimization.execution_accelerators`, or from `instance_group`'s kind; without any of these, from
the server's own choice.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import instance_kinds
from crossrun_server.plans.choice import Choice
from crossrun_server.plans.lane_plan import AUTO, Plan
from crossrun_server.runtime import providers
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.runtime.providers import DEVICE_ID, GRAPHS, Provider, ProviderRequest
from crossrun_server.runtime.session_options import Threads

log = logging.getLogger(__name__)

Group = pb.ModelInstanceGroup

PROVIDERS, PLAN, BATCH_SIZES = "providers", "plan", "batch_sizes"
TOLERANCE = "proof_tolerance"  # the largest difference from a model's proof
RUNNING, LANES, PROVEN = "crossrun.running", "crossrun.plan", "crossrun.proof"
MEASURED = "crossrun.fastest"
# Triton's names for its ONNX backend.
INTRA_OP, INTER_OP = "intra_op_thread_count", "inter_op_thread_count"
MOST_DIGITS = 4  # of a number of threads
# Providers with the option DEVICE_ID, which chooses a card.
HAVE_DEVICE_ID = {
    f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "MIGraphX", "ROCM", "Dml")
}


@dataclass(frozen=True)
class SessionConfig:
    """The providers of each session (instance) of a model, and how the sessions run."""

    requests: tuple[ProviderRequest, ...]
    threads: Threads
    plan: str = ""  # of lanes; empty if the configuration gives instances or threads
    batch_sizes: str | None = None  # that batches are padded to, as text

    @property
    def to_measure(self) -> ProviderRequest | None:
        """The request of which the fastest provider is wanted; None if measuring decides none."""
        return next((request for request in self.requests if request.to_measure), None)

    def on(self, name: str) -> "SessionConfig":
        """Return the same with one provider where the fastest is wanted."""
        chosen = (one.only(name) if one.to_measure else one for one in self.requests)
        return replace(self, requests=tuple(chosen))


def read(proto: pb.ModelConfig, default: ProviderRequest) -> SessionConfig:
    """Read how a model's sessions are to run.

    Args:
        proto: the configuration.
        default: the providers of a model that names none.

    Raises:
        LoadError: a value is malformed, a provider unknown, or two fields contradict each other.
    """
    groups = list(proto.instance_group) or [Group(count=1)]
    requests = [
        request for group in groups for request in _requests(proto, group, default)
        for _ in range(_count(group))
    ]  # fmt: skip
    threads = threads_of(proto)
    plan = _plan(proto, len(requests), threads)
    sizes = proto.parameters[BATCH_SIZES].string_value if BATCH_SIZES in proto.parameters else None
    return SessionConfig(tuple(requests), threads, plan, sizes)


def threads_of(proto: pb.ModelConfig) -> Threads:
    """Return the threads of a session that a configuration asks for; 0 is the default.

    Raises:
        LoadError: a number is malformed.
    """
    return Threads(_whole_number(proto, INTRA_OP), _whole_number(proto, INTER_OP))


def understands(key: str) -> bool:
    """Whether a key of `parameters` says how sessions run."""
    ours = (PROVIDERS, PLAN, BATCH_SIZES, TOLERANCE, RUNNING, LANES, PROVEN, MEASURED)
    known = (*ours, instance_kinds.FILLED_IN, INTRA_OP, INTER_OP)
    return key in known or _is_option(key)


def write(
    proto: pb.ModelConfig,
    assignments: Sequence[Assignment],
    plan: Plan | None,
    choice: Choice | None = None,
) -> None:
    """Write what really runs into a configuration, which clients can read."""
    if not proto.instance_group:
        proto.instance_group.add()
    instance_kinds.fill_in(proto, [assignment.on_card for assignment in assignments])
    running = sorted({str(assignment) for assignment in assignments})
    proto.parameters[RUNNING].string_value = "; ".join(running)
    proven = dict.fromkeys(str(assignment.evidence) for assignment in assignments)
    proto.parameters[PROVEN].string_value = "; ".join(proven)
    if plan:
        proto.parameters[LANES].string_value = str(plan)
    proto.parameters.pop(MEASURED, None)  # a client may send back that of an earlier load
    if choice:
        proto.parameters[MEASURED].string_value = str(choice)


def _plan(proto: pb.ModelConfig, sessions: int, threads: Threads) -> str:
    """Return the plan; one instance, which is Triton's default, leaves it to the server."""
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
    """Return the providers of each session of a group: one for each of its cards, or just one."""
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
    """Whether a key of `parameters` is a provider's option, such as `openvino.device_type`."""
    return "." in key and providers.is_known(key.partition(".")[0])


def _agreeing(request: ProviderRequest, kind: Group.Kind) -> ProviderRequest:
    if kind == Group.KIND_CPU and any(p.name in HAVE_DEVICE_ID for p in request.providers):
        raise LoadError(f"instance_group has KIND_CPU, but parameters 'providers' says {request}")
    if kind == Group.KIND_GPU and {p.name for p in request.providers} == {providers.CPU}:
        raise LoadError(f"instance_group has KIND_GPU, but parameters 'providers' says {request}")
    return request


def _accelerators(proto: pb.ModelConfig, kind: Group.Kind) -> ProviderRequest | None:
    """Read Triton's accelerators for the kind of a group; CUDA comes last for KIND_GPU."""
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
    """Tell providers to capture their runs as CUDA graphs, if they can and no option says no."""
    if not any(provider.name in GRAPHS for provider in request.providers):
        log.warning("%s: optimization.cuda.graphs has no effect on %s", name, request)
    capturing = (
        Provider(p.name, {GRAPHS[p.name]: "1", **p.options}) if p.name in GRAPHS else p
        for p in request.providers
    )
    return replace(request, providers=tuple(capturing))


def _on_card(request: ProviderRequest, card: int) -> ProviderRequest:
    placed = (
        Provider(p.name, {**p.options, DEVICE_ID: str(card)}) if p.name in HAVE_DEVICE_ID else p
        for p in request.providers
    )
    return replace(request, providers=tuple(placed))


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
