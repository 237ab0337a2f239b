"""What is traced and logged: read by GET, changed by POST."""

from typing import Any

from starlette.responses import Response

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.rest import json_text
from crossrun_server.rest.protocol.endpoints import Endpoint, Sent

MODEL = {"model": "model_name"}
LEVEL = "trace_level"  # has a list of words, the others have one
MOST_NUMBER = 2**32 - 1


def _trace(message: pb.TraceSettingRequest, sent: Sent) -> None:
    for name, value in sent.items():
        words = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(word, str) for word in words):
            raise InvalidRequest(
                f"setting {name!r} is {value!r:.80}, expected a text, a list of texts, or null, "
                "which resets it"
            )
        message.settings[name].value.extend(words)


def _traced(answer: pb.TraceSettingResponse) -> Response:
    found = {name: list(setting.value) for name, setting in answer.settings.items()}
    return json_text.response(
        {name: words if name == LEVEL else "".join(words) for name, words in found.items()}
    )


def _log(message: pb.LogSettingsRequest, sent: Sent) -> None:
    """Change settings; those that are null stay as they are, as with Triton."""
    for name, value in sent.items():
        if value is not None:
            setattr(message.settings[name], _field(name, value), value)


def _field(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "bool_param"
    if isinstance(value, int) and 0 <= value <= MOST_NUMBER:
        return "uint32_param"
    if isinstance(value, str):
        return "string_param"
    raise InvalidRequest(
        f"setting {name!r} is {value!r:.80}, expected true or false, a text, or 0 to {MOST_NUMBER}"
    )


def _logged(answer: pb.LogSettingsResponse) -> Response:
    settings = answer.settings.items()
    return json_text.response(
        {name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in settings}
    )


ENDPOINTS = tuple(
    Endpoint(verb, path, rpc, message, MODEL, write, told, fill)
    for path, rpc, message, write, what, change in (
        ("/v2/trace/setting", "TraceSetting", pb.TraceSettingRequest, _traced, "traced", _trace),
        ("/v2/models/{model}/trace/setting", "TraceSetting", pb.TraceSettingRequest, _traced,
         "traced of a model", _trace),
        ("/v2/logging", "LogSettings", pb.LogSettingsRequest, _logged, "logged", _log),
    )
    for verb, told, fill in (
        ("GET", f"What is {what}", None), ("POST", f"Change what is {what}", change)
    )
)  # fmt: skip
