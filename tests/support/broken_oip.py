"""A small server of the Open Inference Protocol that is right, or wrong in one chosen way.

Made for finding out whether the conformance suite notices; it serves a few of its models.
"""

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip import grpc_service_pb2_grpc as rpc
from tests.conformance.datatypes import NUMPY, TYPED, Array, array, decode, encode

Arrays = dict[str, Array]
OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class Refused(Exception):  # noqa: N818 - what happened
    """A request that cannot be answered."""


@dataclass(frozen=True)
class Model:
    """What a model takes and gives: datatypes and shapes by name."""

    inputs: dict[str, tuple[str, list[int]]]
    outputs: dict[str, tuple[str, list[int]]]
    run: Callable[[Arrays], Arrays]


def _identity(datatype: str) -> Model:
    spec = (datatype, [-1, -1])
    return Model({"x": spec}, {"y": spec}, lambda inputs: {"y": inputs["x"]})


def _add_and_subtract(inputs: Arrays) -> Arrays:
    first, second = inputs["INPUT0"], inputs["INPUT1"]
    if len(first) != len(second):
        raise Refused("INPUT0 and INPUT1 differ in batch")
    return {"OUTPUT0": first + second, "OUTPUT1": first - second}


ROW = ("INT32", [-1, 16])
MODELS = {f"oip_identity_{datatype.lower()}": _identity(datatype) for datatype in NUMPY}
MODELS["oip_simple"] = Model(
    {"INPUT0": ROW, "INPUT1": ROW}, {"OUTPUT0": ROW, "OUTPUT1": ROW}, _add_and_subtract
)


class Server(rpc.GRPCInferenceServiceServicer):
    """Answers as the protocol has it, but for one fault."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._hurt = False
        self._last: Arrays = {}

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Always."""
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Always, unless that is the fault."""
        return pb.ServerReadyResponse(ready=self._fault != "is never ready")

    def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Name, version, and no extension but a lie."""
        lies = ["statistics"] if self._fault == "announces what it lacks" else []
        return pb.ServerMetadataResponse(name="broken", version="1", extensions=lies)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """Whether there is such a model."""
        found = request.name in MODELS and request.version in ("", "1")
        return pb.ModelReadyResponse(ready=found)

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """What a model takes and gives."""
        if self._fault == "lacks ModelMetadata":
            context.abort(StatusCode.UNIMPLEMENTED, "")
        model = _find(request.name, request.version, context)
        return pb.ModelMetadataResponse(
            name=request.name, versions=["1"], platform="broken_numpy",
            inputs=_described(model.inputs), outputs=_described(model.outputs),
        )  # fmt: skip

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run a model."""
        version = "" if self._fault == "takes any version" else request.model_version
        model = _find(request.model_name, version, context)
        if self._hurt:
            context.abort(StatusCode.INTERNAL, "out of order since the last bad request")
        try:
            names = [output.name for output in request.outputs] or list(model.outputs)
            if unknown := set(names) - set(model.outputs):
                raise Refused(f"no output {unknown}")
            outputs = model.run(_read(request, model, self._fault))
        except Refused as refused:
            self._refuse(context, str(refused))
        return self._respond(request, model, names, self._spoil(outputs, request.id))

    def _refuse(self, context: Any, text: str) -> None:
        self._hurt = self._fault == "does not get over a bad request"
        code = StatusCode.INVALID_ARGUMENT
        if self._fault == "calls every error INTERNAL":
            code = StatusCode.INTERNAL
        context.abort(code, "bad request" if self._fault == "does not say what was wrong" else text)

    def _spoil(self, outputs: Arrays, identifier: str) -> Arrays:
        """Get the values wrong."""
        if self._fault == "swaps outputs":
            return dict(zip(outputs, reversed(outputs.values()), strict=True))
        if self._fault == "mixes requests up" and identifier:
            outputs, self._last = self._last or outputs, outputs
        return {name: SPOILERS.get(self._fault, _as_is)(values) for name, values in outputs.items()}

    def _respond(self, request: Any, model: Model, names: list[str], outputs: Arrays) -> Any:
        response = pb.ModelInferResponse(model_name=request.model_name, model_version="1")
        if self._fault != "forgets ids":
            response.id = request.id
        for name in list(model.outputs) if self._fault == "sends every output" else names:
            values, (datatype, _) = outputs[name], model.outputs[name]
            response.outputs.add(name=name, datatype=datatype, shape=values.shape)
            response.raw_output_contents.append(encode(datatype, values))
        return response


def _as_is(values: Array) -> Array:
    return values


def _flushed(values: Array) -> Array:
    if values.dtype.kind != "f":
        return values
    tiny = np.abs(values) < np.finfo(values.dtype).smallest_normal
    return np.where(tiny, np.copysign(np.zeros_like(values), values), values)


def _cut_at_nul(values: Array) -> Array:
    if values.dtype != np.object_:
        return values
    return array("BYTES", [text.partition(b"\0")[0] for text in values.ravel()], values.shape)


def _through_float(values: Array) -> Array:
    if values.dtype != np.int64:
        return values
    return (values.astype(np.float64) / 2).astype(np.int64) * 2


SPOILERS: dict[str, Callable[[Array], Array]] = {
    "flushes denormals": _flushed,
    "cuts strings at NUL": _cut_at_nul,
    "rounds INT64": _through_float,
    "reverses rows": lambda values: values[::-1],
}


def _find(name: str, version: str, context: Any) -> Model:
    if name not in MODELS or version not in ("", "1"):
        context.abort(StatusCode.NOT_FOUND, f"no model {name} of version {version}")
    return MODELS[name]


def _described(specs: dict[str, tuple[str, list[int]]]) -> list[Any]:
    return [
        pb.ModelMetadataResponse.TensorMetadata(name=name, datatype=datatype, shape=shape)
        for name, (datatype, shape) in specs.items()
    ]


def _read(request: Any, model: Model, fault: str) -> Arrays:
    """Read the inputs, refusing whatever is wrong with them."""
    names = [item.name for item in request.inputs]
    if sorted(names) != sorted(model.inputs):
        raise Refused(f"{names} instead of {list(model.inputs)}")
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(names):
        raise Refused(f"{len(raw)} raw_input_contents for {names}")
    return {
        item.name: _tensor(item, raw[at] if raw else None, model.inputs[item.name], fault)
        for at, item in enumerate(request.inputs)
    }


def _tensor(item: Any, raw: bytes | None, spec: tuple[str, list[int]], fault: str) -> Array:
    datatype, shape = spec
    fits = len(item.shape) == len(shape) and all(
        want in (-1, have) and have >= 0 for want, have in zip(shape, item.shape, strict=True)
    )
    if item.datatype != datatype or not fits or (raw is not None and item.HasField("contents")):
        raise Refused(f"input {item.name} is wrong")
    try:
        if raw is None:
            return _typed(item)
        if fault == "takes any number of bytes" and datatype == "FP32":
            raw = (raw + bytes(8))[:8] if list(item.shape) == [1, 2] else raw
        return decode(datatype, raw, item.shape)
    except (AssertionError, ValueError, struct.error) as error:
        raise Refused(f"input {item.name}: {error}") from None


def _typed(item: Any) -> Array:
    field = TYPED.get(item.datatype)
    if {found.name for found, _ in item.contents.ListFields()} - {field}:
        raise Refused(f"input {item.name} is in the wrong field")
    return array(item.datatype, list(getattr(item.contents, str(field))), item.shape)


@contextmanager
def running(faults: list[str]) -> Iterator[dict[str, str]]:
    """Run one server for each fault; gives their addresses."""
    with ThreadPoolExecutor(8) as pool:
        servers = {fault: grpc.server(pool, options=OPTIONS) for fault in faults}
        addresses = {}
        for fault, server in servers.items():
            rpc.add_GRPCInferenceServiceServicer_to_server(Server(fault), server)
            addresses[fault] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            server.start()
        try:
            yield addresses
        finally:
            for server in servers.values():
                server.stop(None).wait()
