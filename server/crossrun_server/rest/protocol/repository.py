"""Which models there are; loads and unloads them."""

import base64
import binascii
from typing import Any

from starlette.responses import Response

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.rest import json_text
from crossrun_server.rest.describing import LIST, NOTHING
from crossrun_server.rest.protocol.endpoints import Endpoint, Sent, done, member, plain
from crossrun_server.services.control import FILE

FIELDS = {"repository": "repository_name", "model": "model_name"}
_ROOTS = ("/v2/repository", "/v2/repository/{repository}")


def _ask(message: pb.RepositoryIndexRequest, sent: Sent) -> None:
    json_text.check_keys(sent, ("ready",))
    message.ready = member(sent, "ready", bool, otherwise=False)


def _index(answer: pb.RepositoryIndexResponse) -> Response:
    """List versions; what is empty is left out, as Triton does."""
    models = [plain(one) for one in answer.models]
    return json_text.response([{k: v for k, v in one.items() if v} for one in models])


def _load(message: pb.RepositoryModelLoadRequest, sent: Sent) -> None:
    for name, value in _parameters(sent).items():
        if name.startswith(FILE):
            message.parameters[name].bytes_param = _content(name, value)
        else:
            _put(message.parameters[name], name, value)


def _unload(message: pb.RepositoryModelUnloadRequest, sent: Sent) -> None:
    for name, value in _parameters(sent).items():
        _put(message.parameters[name], name, value)


def _parameters(sent: Sent) -> Sent:
    json_text.check_keys(sent, ("parameters",))
    found: Sent = member(sent, "parameters", dict, otherwise={})
    return found


def _content(name: str, value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidRequest(f"parameter {name!r} is no file in base64: {error}") from None


def _put(parameter: pb.ModelRepositoryParameter, name: str, value: Any) -> None:
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param"}
    if type(value) not in kinds:
        raise InvalidRequest(f"invalid value for parameter {name!r}: {value!r:.80}")
    setattr(parameter, kinds[type(value)], value)


def _endpoints(root: str) -> tuple[Endpoint, ...]:
    model = f"{root}/models/{{model}}"
    return (
        Endpoint("POST", f"{root}/index", "RepositoryIndex", pb.RepositoryIndexRequest, FIELDS,
                 _index, "The models of the repository, and their states", _ask, LIST),
        Endpoint("POST", f"{model}/load", "RepositoryModelLoad", pb.RepositoryModelLoadRequest,
                 FIELDS, done, "Load a model, or load it again", _load, answer=NOTHING),
        Endpoint("POST", f"{model}/unload", "RepositoryModelUnload",
                 pb.RepositoryModelUnloadRequest, FIELDS, done, "Unload a model", _unload,
                 NOTHING),
    )  # fmt: skip


ENDPOINTS = tuple(endpoint for root in _ROOTS for endpoint in _endpoints(root))
