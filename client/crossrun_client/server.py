"""What a server says of itself and of its models.

Any server of the Open Inference Protocol is asked; what only Triton or only crossrun-serve tells is
left out where there is no answer to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.v1 import providers_pb2
from crossrun_client.connection import Connection
from crossrun_client.errors import Refused
from crossrun_client.statistics import Counters, counters

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
_FRONT = "front("
_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True)
class Placed:
    """What computes a version of a model."""

    nodes: dict[str, int]  # by provider, as people type it: {"openvino": 63}
    precision: str = ""  # of the file: fp32, int8, fp16; empty where nothing says
    computes_in: str = ""  # what providers were told: f32, bf16 as asked; empty where nothing says
    tolerance: float | None = None  # of its proof
    skipped: dict[str, str] = field(default_factory=dict)  # by provider, why it does not run

    def __str__(self) -> str:
        """Such as 63 nodes on openvino."""
        each = [f"{count} node{'s' * (count != 1)} on {name}" for name, count in self.nodes.items()]
        return ", ".join(each)


@dataclass(frozen=True)
class ModelState:
    """A version of a model, or a model without any that is known."""

    name: str
    version: str
    state: str  # READY, LOADING, UNLOADING, UNAVAILABLE
    reason: str = ""
    placed: Placed | None = None
    plan: str = ""  # of its lanes
    counters: Counters | None = None


@dataclass(frozen=True)
class ServerState:
    """A server and its models at one moment."""

    address: str
    name: str
    version: str
    front: str  # native or python; empty of other servers
    ready: bool
    models: Sequence[ModelState] | None  # None: the server does not list them
    at: float  # seconds of perf_counter


def read(connection: Connection, names: Sequence[str] = ()) -> ServerState:
    """Ask a server about itself and its models, or about some of them.

    Raises:
        ClientError: it cannot be asked, or has no such model.
    """
    told = connection.ask(connection.oip.ServerMetadata, pb.ServerMetadataRequest())
    ready = connection.ask(connection.oip.ServerReady, pb.ServerReadyRequest()).ready
    fronts = [one for one in told.extensions if one.startswith(_FRONT)]
    return ServerState(
        connection.target.place,
        told.name,
        told.version,
        "".join(fronts).removeprefix(_FRONT).removesuffix(")"),
        ready,
        models(connection, names),
        perf_counter(),
    )


def models(connection: Connection, names: Sequence[str] = ()) -> list[ModelState] | None:
    """List all models, or some of them; None if the server does not list any.

    Raises:
        ClientError: the server cannot be asked, or has no such model.
    """
    index = connection.told(connection.oip.RepositoryIndex, pb.RepositoryIndexRequest())
    if index is None:
        return [_named(connection, name) for name in names] or None
    for name in set(names) - {line.name for line in index.models}:
        raise Refused(StatusCode.NOT_FOUND, f"there is no model {name!r}")
    lines = [line for line in index.models if not names or line.name in names]
    placed, counted = placements(connection), counters(connection)
    return [
        ModelState(
            line.name,
            line.version,
            line.state or (READY if line.version else UNAVAILABLE),  # never loaded: no version
            line.reason,
            placed.get((line.name, line.version)),
            _plan(connection, line),
            counted.get((line.name, line.version)),
        )
        for line in lines
    ]


def placements(connection: Connection) -> dict[tuple[str, str], Placed]:
    """Return what computes each version of each model; empty of servers other than ours."""
    request = providers_pb2.ListPlacementsRequest()
    answer = connection.told(connection.providers.ListPlacements, request)
    found: dict[tuple[str, str], Placed] = {}
    for one in answer.placements if answer else ():
        found.setdefault((one.model, one.version), _placed(one))  # the lanes run alike
    return found


def is_ready(connection: Connection, name: str, version: str = "") -> bool:
    """Whether a model takes requests; one that nobody knows does not."""
    request = pb.ModelReadyRequest(name=name, version=version)
    try:
        answer: bool = connection.ask(connection.oip.ModelReady, request).ready
    except Refused as error:
        if error.code == StatusCode.NOT_FOUND:
            return False
        raise
    return answer


def short(provider: str) -> str:
    """What people type: openvino for OpenVINOExecutionProvider."""
    return provider.removesuffix(_SUFFIX).lower()


def _named(connection: Connection, name: str) -> ModelState:
    """Ask about a model of a server without an index."""
    request = pb.ModelMetadataRequest(name=name)
    versions = connection.ask(connection.oip.ModelMetadata, request).versions
    ready = is_ready(connection, name)
    return ModelState(name, "".join(versions[-1:]), READY if ready else "UNAVAILABLE")


def _placed(one: providers_pb2.Placement) -> Placed:
    running = one.running
    return Placed(
        {short(count.provider): count.nodes for count in running},
        one.proof.precision,
        ", ".join(dict.fromkeys(count.precision for count in running if count.precision)),
        one.proof.tolerance if one.proof.HasField("tolerance") else None,
        {short(name): why for name, why in one.skipped.items()},
    )


def _plan(connection: Connection, line: Any) -> str:
    if line.state != READY:
        return ""
    request = pb.ModelConfigRequest(name=line.name, version=line.version)
    answer = connection.told(connection.oip.ModelConfig, request)
    return answer.config.parameters["crossrun.plan"].string_value if answer else ""
