"""Which models there are, whether they are ready, and what they take.

An answer about a model is TensorFlow Serving's and KServe's at once: their keys differ.
Source: https://www.tensorflow.org/tfx/serving/api_rest#model_status_api, and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import UnknownModel
from crossrun_server.models.states import State
from crossrun_server.rest import json_text
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.describing import OBJECT, TEXT, Schema, operation, path

SERVICE = "/inference.GRPCInferenceService"
INDEX = f"{SERVICE}/RepositoryIndex"
METADATA = f"{SERVICE}/ModelMetadata"
STATES = {
    State.LOADING: "LOADING",
    State.READY: "AVAILABLE",
    State.UNLOADING: "UNLOADING",
    State.UNAVAILABLE: "END",
}
# TensorFlow's types, by those of the Open Inference Protocol.
TYPES = {
    "BOOL": "DT_BOOL", "UINT8": "DT_UINT8", "UINT16": "DT_UINT16", "UINT32": "DT_UINT32",
    "UINT64": "DT_UINT64", "INT8": "DT_INT8", "INT16": "DT_INT16", "INT32": "DT_INT32",
    "INT64": "DT_INT64", "FP16": "DT_HALF", "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE",
    "BF16": "DT_BFLOAT16", "BYTES": "DT_STRING",
}  # fmt: skip

_STATUS: Schema = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "ready": {"type": "boolean"},
        "model_version_status": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "version": TEXT,
                    "state": {"enum": list(STATES.values())},
                    "status": {
                        "type": "object",
                        "properties": {"error_code": TEXT, "error_message": TEXT},
                    },
                },
                "required": ["version", "state", "status"],
            },
        },
    },
    "required": ["name", "ready", "model_version_status"],
}
_NAMES: Schema = {
    "type": "object",
    "properties": {"models": {"type": "array", "items": TEXT}},
    "required": ["models"],
}
_MODEL, _VERSION = "/v1/models/{model}", "/v1/models/{model}/versions/{version}"


def _described(model: str, name: str, *parts: str) -> dict[str, Any]:
    how: Any = {"parameters": path(*parts)}
    return {
        model: {"get": operation(f"{name}Status", "The state of a model", _STATUS, **how)},
        f"{model}/metadata": {
            "get": operation(f"{name}Metadata", "What a model takes and returns", OBJECT, **how)
        },
    }


PATHS = (
    {"/v1/models": {"get": operation("models", "The models that are ready", _NAMES)}}
    | _described(_MODEL, "model", "model")
    | _described(_VERSION, "version", "model", "version")
)

Version = pb.RepositoryIndexResponse.ModelIndex
Tensor = pb.ModelMetadataResponse.TensorMetadata


def routes(calls: Calls) -> list[Route]:
    """Return the routes of this room."""

    async def models(request: Request) -> Response:
        ready = pb.RepositoryIndexRequest(ready=True)
        return await calls.answer(request, INDEX, lambda _: ready, _models)

    async def status(request: Request) -> Response:
        everything = pb.RepositoryIndexRequest()
        path = request.path_params
        write = partial(_status, path["model"], path.get("version", ""))
        return await calls.answer(request, INDEX, lambda _: everything, write)

    async def metadata(request: Request) -> Response:
        path = request.path_params
        asked = pb.ModelMetadataRequest(name=path["model"], version=path.get("version", ""))
        write = partial(_metadata, path.get("version", ""))
        return await calls.answer(request, METADATA, lambda _: asked, write, names=asked)

    return [
        Route("/v1/models", models),
        *(Route(model, status) for model in (_MODEL, _VERSION)),
        *(Route(f"{model}/metadata", metadata) for model in (_MODEL, _VERSION)),
    ]


def _models(answer: pb.RepositoryIndexResponse) -> Response:
    """List models that are ready, as KServe does."""
    return json_text.response({"models": sorted({one.name for one in answer.models})})


def _status(model: str, version: str, answer: pb.RepositoryIndexResponse) -> Response:
    """Tell the state of a model's versions.

    Raises:
        UnknownModel: there is none, or the caller may not know of it.
    """
    entries = [one for one in answer.models if one.name == model]
    found = [one for one in entries if one.version and version in ("", one.version)]
    if not entries or (version and not found):
        at = f" version {version}" if version else ""
        raise UnknownModel(f"Request for unknown model: {model!r}{at} is not found")
    ready = any(one.state == State.READY for one in found)
    versions = [_version(one) for one in found]
    return json_text.response({"name": model, "ready": ready, "model_version_status": versions})


def _version(one: Version) -> dict[str, Any]:
    failed = one.state == State.UNAVAILABLE and one.reason
    told = {"error_code": "UNKNOWN" if failed else "OK", "error_message": one.reason}
    return {"version": one.version, "state": STATES[State(one.state)], "status": told}


def _metadata(version: str, answer: pb.ModelMetadataResponse) -> Response:
    """Describe a model as TensorFlow Serving does, by the one signature that it has here."""
    signature = {
        "inputs": _tensors(answer.inputs),
        "outputs": _tensors(answer.outputs),
        "method_name": "tensorflow/serving/predict",
    }
    newest = version or max(answer.versions, key=int)
    return json_text.response(
        {
            "model_spec": {"name": answer.name, "signature_name": "", "version": newest},
            "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
        }
    )


def _tensors(tensors: Iterable[Tensor]) -> dict[str, Any]:
    return {one.name: _tensor(one) for one in tensors}


def _tensor(one: Tensor) -> dict[str, Any]:
    dims = [
        {"size": str(size), "name": ""} for size in one.shape
    ]  # 64 bits: TensorFlow's are texts
    shape = {"dim": dims, "unknown_rank": False}
    return {"dtype": TYPES[one.datatype], "tensor_shape": shape, "name": one.name}
