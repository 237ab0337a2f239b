"""Inference: a request in JSON, with or without binary tensors behind it, or one tensor alone.

Source: https://github.com/kserve/open-inference-protocol (HTTP/REST) and
docs/protocol/extension_binary_data.md of triton-inference-server/server.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.rest import json_text
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.describing import JSON, OBJECT, operation, path
from crossrun_server.rest.protocol import tensors, whole_body
from crossrun_server.rest.protocol.endpoints import SERVICE, member, plain
from crossrun_server.services.parameters import REGION
from crossrun_server.services.wire import WireRequest

METHOD = f"{SERVICE}/ModelInfer"
_MODEL, _VERSION = "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"
BYTES = "application/octet-stream"
HEAD_SIZE = "inference-header-content-length"  # bytes of the JSON before the binary tensors
SIZE = re.compile(r"\d{1,18}", re.ASCII)
BINARY, ALL_BINARY = "binary_data", "binary_data_output"
KEYS = ("id", "model_name", "parameters", "inputs", "outputs")
MOST_TENSORS = 10_000  # of a request: a message of them is made in 50 ms


def _described(name: str, *parts: str) -> dict[str, Any]:
    body = {JSON: OBJECT, BYTES: {}}
    told = "Run a model on tensors, in JSON or behind it"
    how = operation(name, told, OBJECT, parameters=(*path(*parts), _HEAD), body=body)
    how["responses"]["200"]["content"][BYTES] = {}
    return {"post": how}


_HEAD = {
    "name": HEAD_SIZE,
    "in": "header",
    "description": "Bytes of the JSON, if tensors follow it; 0: the body is one tensor.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}
PATHS = {
    _MODEL: _described("modelInfer", "model"),
    _VERSION: _described("versionInfer", "model", "version"),
}


@dataclass
class Form:
    """Which outputs a request wants as bytes behind the JSON."""

    all: bool = False
    some: dict[str, bool] = field(default_factory=dict)

    def binary(self, output: str) -> bool:
        """Whether an output is wanted so."""
        return self.some.get(output, self.all)


def routes(calls: Calls) -> list[Route]:
    """Return the routes of this room."""

    async def infer(request: Request) -> Response:
        names = pb.ModelInferRequest(
            model_name=request.path_params["model"],
            model_version=request.path_params.get("version", ""),
        )
        form = Form()  # for the answer
        read = partial(_read, calls, request.headers.get(HEAD_SIZE), names, form)
        return await calls.answer(request, METHOD, read, partial(_write, form), names=names)

    return [Route(path, infer, methods=["POST"]) for path in (_MODEL, _VERSION)]


def _read(
    calls: Calls, announced: str | None, names: pb.ModelInferRequest, form: Form, body: bytes
) -> WireRequest:
    """Make a message of a request.

    Raises:
        InvalidRequest: it cannot be made.
        UnknownModel, ModelUnavailable: see Repository.get.
    """
    message = pb.ModelInferRequest()
    message.CopyFrom(names)
    size = len(body) if announced is None else _head_size(announced, len(body))
    if not size and body:
        form.all = True
        raw = whole_body.add_input(message, calls.models, body)
        return WireRequest(message, (raw,), len(body))
    if size > json_text.MOST_BYTES:
        raise InvalidRequest(
            f"the JSON has {size} bytes, expected {json_text.MOST_BYTES} at most; "
            "larger tensors are sent as binary ones"
        )
    try:
        raws = _fill(message, json_text.read(body[:size]), form, memoryview(body)[size:])
    except UnicodeError as error:
        raise InvalidRequest(f"the JSON has a text that is none: {error}") from None
    return WireRequest(message, raws, len(body))


def _head_size(announced: str, whole: int) -> int:
    if not SIZE.fullmatch(announced) or int(announced) > whole:
        raise InvalidRequest(
            f"{HEAD_SIZE} is {announced!r:.80}, expected the size of the JSON, {whole} at most"
        )
    return int(announced)


def _fill(
    message: pb.ModelInferRequest, sent: dict[str, Any], form: Form, behind: memoryview
) -> tuple[tensors.Raw, ...]:
    """Put a request into a message; returns the raw contents of its inputs."""
    json_text.check_keys(sent, KEYS)
    message.id = member(sent, "id", str, otherwise="")
    _check_model(member(sent, "model_name", str, otherwise=message.model_name), message)
    given = tensors.parameters(sent, "the request")
    form.all = _truth(given, ALL_BINARY, otherwise=False)
    tensors.fill(message.parameters, given, "the request")
    inputs, outputs = _tensors(sent, "inputs"), _tensors(sent, "outputs")
    _add_outputs(message, outputs, form)
    return tuple(tensors.add_inputs(message, inputs, behind))


def _check_model(named: str, message: pb.ModelInferRequest) -> None:
    """Hold the name that KServe's client writes into the JSON, too, to the one in the path."""
    if named != message.model_name:
        raise InvalidRequest(
            f"'model_name' is {named!r:.80}, expected {message.model_name!r:.80}, as in the path"
        )


def _tensors(sent: Mapping[str, Any], name: str) -> list[Any]:
    found = sent.get(name, [])
    if not isinstance(found, list) or len(found) > MOST_TENSORS:
        raise InvalidRequest(f"{name!r} is no list of {MOST_TENSORS} tensors at most")
    return found


def _add_outputs(message: pb.ModelInferRequest, outputs: list[Any], form: Form) -> None:
    for position, sent in enumerate(outputs):
        name = tensors.check(sent, f"outputs[{position}]", ("name", "parameters"))
        given = tensors.parameters(sent, f"output {name!r}")
        form.some[name] = _truth(given, BINARY, otherwise=form.all)
        tensors.fill(message.outputs.add(name=name).parameters, given, f"output {name!r}")


def _truth(given: dict[str, Any], name: str, *, otherwise: bool) -> bool:
    """Take a parameter out that the service does not know."""
    found = given.pop(name, otherwise)
    if not isinstance(found, bool):
        raise InvalidRequest(f"parameter {name!r} is {found!r:.80}, expected true or false")
    return found


def _write(form: Form, answer: pb.ModelInferResponse) -> Response:
    """Write an answer: JSON, and behind it the binary outputs."""
    outputs, behind = [], list[bytes]()
    for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
        outputs.append(_output(output, raw, form))
        if tensors.BINARY_SIZE in outputs[-1].get("parameters", {}):
            behind.append(raw)
    head = {"model_name": answer.model_name, "model_version": answer.model_version}
    named = {"id": answer.id} if answer.id else {}
    if not any(behind):
        return json_text.response(named | head | {"outputs": outputs})
    text = orjson.dumps(named | head | {"outputs": outputs})
    headers = {HEAD_SIZE: str(len(text))}
    return Response(b"".join((text, *behind)), 200, headers, BYTES)


def _output(
    output: pb.ModelInferResponse.InferOutputTensor, raw: bytes, form: Form
) -> dict[str, Any]:
    found = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
    if REGION in output.parameters:
        shared = plain(output)["parameters"].items()
        return found | {"parameters": {k: next(iter(v.values())) for k, v in shared}}
    if form.binary(output.name):
        return found | {"parameters": {tensors.BINARY_SIZE: len(raw)}}
    return found | {"data": json_text.array(tensors.numbers(output, raw))}
