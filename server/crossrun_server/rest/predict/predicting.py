"""Predict: rows (`instances` → `predictions`) or columns (`inputs` → `outputs`) of JSON.

Source: https://www.tensorflow.org/tfx/serving/api_rest#predict_api.
"""

import base64
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.models.model import Model
from crossrun_server.rest import json_text
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.describing import JSON, Schema, operation, path
from crossrun_server.rest.predict import values
from crossrun_server.rest.statuses import failed
from crossrun_server.services.wire import WireRequest
from crossrun_server.tensors.encoding import from_bytes, to_bytes
from crossrun_server.tensors.tensor_spec import Array, TensorSpec

METHOD = "/inference.GRPCInferenceService/ModelInfer"
ROWS, COLUMNS = "instances", "inputs"
SIGNATURE = "signature_name"
SIGNATURES = ("", "serving_default")  # models here have no others
OTHERS = ("classify", "regress")
BINARY = "_bytes"  # with which the name of an output ends whose texts are written in base64
Sent = dict[str, Any]

_WANTED: Schema = {
    "type": "object",
    "properties": {
        SIGNATURE: {"enum": list(SIGNATURES)},
        ROWS: {"type": "array", "minItems": 1, "description": "One entry for each row."},
        COLUMNS: {"description": "An object of inputs by name, or the only one."},
    },
    "oneOf": [{"required": [ROWS]}, {"required": [COLUMNS]}],
    "additionalProperties": False,
}
_FOUND: Schema = {
    "type": "object",
    "properties": {
        "predictions": {"type": "array", "description": "One entry for each of `instances`."},
        "outputs": {"description": "An object of outputs by name, or the only one."},
    },
    "additionalProperties": False,
}
_MODEL, _VERSION = "/v1/models/{model}", "/v1/models/{model}/versions/{version}"


def _described(model: str, name: str, *parts: str) -> dict[str, Any]:
    how: Any = {"parameters": path(*parts), "body": {JSON: _WANTED}}
    refused = "Takes tf.Example, which models here do not: 501"
    return {
        f"{model}:predict": {
            "post": operation(name, "Run a model on numbers, as TensorFlow Serving", _FOUND, **how)
        },
        **{
            f"{model}:{verb}": {
                "post": operation(f"{name}{verb.title()}", refused, parameters=path(*parts))
            }
            for verb in OTHERS
        },
    }


PATHS = _described(_MODEL, "predict", "model") | _described(
    _VERSION, "predictVersion", "model", "version"
)


def routes(calls: Calls) -> list[Route]:
    """Return the routes of this room."""

    async def predict(request: Request) -> Response:
        names = pb.ModelInferRequest(
            model_name=request.path_params["model"],
            model_version=request.path_params.get("version", ""),
        )
        form: Sent = {}  # of the request, which is that of the answer
        read, write = partial(_read, calls, names, form), partial(_write, form)
        limit = json_text.MOST_BYTES
        return await calls.answer(request, METHOD, read, write, names=names, most=limit)

    models = (_MODEL, _VERSION)
    return [
        *(Route(f"{model}:predict", predict, methods=["POST"]) for model in models),
        *(Route(f"{model}:{verb}", _other, methods=["POST"])
          for model in models for verb in OTHERS),
    ]  # fmt: skip


async def _other(_: Request) -> Response:
    """Refuse what takes tf.Example."""
    text = "classify and regress take tf.Example, which models here do not; predict takes tensors"
    return failed(501, f"{text}, and /v1/vision/classify pictures")


def _read(calls: Calls, names: pb.ModelInferRequest, form: Sent, body: bytes) -> WireRequest:
    """Make a message of a request.

    Raises:
        InvalidRequest: it cannot be made.
        UnknownModel, ModelUnavailable: see Repository.get.
    """
    model = calls.models.get(names.model_name, names.model_version)
    asked = json_text.read(body)
    json_text.check_keys(asked, (SIGNATURE, ROWS, COLUMNS))
    if asked.get(SIGNATURE, "") not in SIGNATURES:
        raise InvalidRequest(f"{SIGNATURE} is {asked[SIGNATURE]!r}, expected serving_default")
    if (ROWS in asked) == (COLUMNS in asked):
        raise InvalidRequest(f"the JSON has to have one of {ROWS!r} and {COLUMNS!r}")
    sent = _rows(asked[ROWS], model) if ROWS in asked else _columns(asked[COLUMNS], model)
    form |= {ROWS: len(asked[ROWS])} if ROWS in asked else {COLUMNS: None}
    message, raw = pb.ModelInferRequest(), list[bytes]()
    message.CopyFrom(names)
    for name, value in sent.items():
        array = _tensor(value, model.input(name))
        message.inputs.add(name=name, datatype=model.input(name).datatype, shape=array.shape)
        raw.append(to_bytes(array))
    return WireRequest(message, tuple(raw), len(body))


def _tensor(value: Any, spec: TensorSpec) -> Array:
    if spec.datatype != "BYTES" and values.has_picture(value):
        raise InvalidRequest(
            f"input {spec.name!r} is {spec.datatype}, expected numbers and no base64; "
            "/v1/vision takes encoded pictures"
        )
    return values.tensor(value, spec)


def _columns(value: Any, model: Model) -> Mapping[str, Any]:
    """Return what is sent of each input; one that is alone may come without its name."""
    if isinstance(value, dict) and list(value) != [values.B64]:
        return value
    return {_only(model): value}


def _rows(instances: Any, model: Model) -> Mapping[str, Any]:
    """Turn rows into columns."""
    if not isinstance(instances, list) or not instances:
        raise InvalidRequest(f"{ROWS} is no list with something in it")
    first = instances[0]
    if not isinstance(first, dict) or list(first) == [values.B64]:
        return {_only(model): instances}
    for at, one in enumerate(instances):
        if not isinstance(one, dict) or one.keys() != first.keys():
            raise InvalidRequest(f"{ROWS}[{at}] does not have the inputs of {ROWS}[0]")
    return {name: [one[name] for one in instances] for name in first}


def _only(model: Model) -> str:
    """Return the name of the input that is meant if none is named."""
    needed = [spec.name for spec in model.config.inputs if not spec.optional]
    if len(needed) != 1:
        raise InvalidRequest(f"the model has the inputs {', '.join(needed)}: each has to be named")
    return needed[0]


def _write(form: Sent, answer: pb.ModelInferResponse) -> Response:
    """Write the outputs in the form of the request; one that is alone comes without its name.

    Raises:
        InvalidRequest: the request has rows, and an output has not.
    """
    pairs = zip(answer.outputs, answer.raw_output_contents, strict=True)
    found = {output.name: _output(output, raw) for output, raw in pairs}
    if COLUMNS in form:
        columns: Any = {name: json_text.array(one) for name, one in found.items()}
        return json_text.response({"outputs": _alone(columns)})
    many = form[ROWS]
    if strays := [name for name, one in found.items() if not one.ndim or len(one) != many]:
        raise InvalidRequest(f"output {strays[0]!r} has no row for each instance; send {COLUMNS!r}")
    if len(found) == 1:
        return json_text.response({"predictions": json_text.array(_alone(found))})
    rows = [{name: json_text.array(one[at]) for name, one in found.items()} for at in range(many)]
    return json_text.response({"predictions": rows})


def _alone(found: Mapping[str, Any]) -> Any:
    return next(iter(found.values())) if len(found) == 1 else found


def _output(output: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> Array:
    array = from_bytes(raw, output.datatype, tuple(output.shape))
    if output.datatype == "BF16":  # its bits are the upper half of those of FP32
        return (array.astype(np.uint32) << 16).view(np.float32)
    if output.datatype == "BYTES" and output.name.endswith(BINARY):
        return _encoded(array)
    return array


def _encoded(array: Array) -> Array:
    found = np.empty(array.shape, np.object_)
    for at, text in np.ndenumerate(array):
        found[at] = {values.B64: base64.b64encode(text.encode()).decode()}
    return found
