"""The index, the counters and the configurations of models."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.rest import json_text
from crossrun_server.rest.calls import Calls

SERVICE = "/inference.GRPCInferenceService"


def routes(calls: Calls) -> list[Route]:
    """Return the routes of this room."""

    async def index(request: Request) -> Response:
        asked = pb.RepositoryIndexRequest()
        return await calls.answer(request, f"{SERVICE}/RepositoryIndex", lambda _: asked, _index)

    async def stats(request: Request) -> Response:
        asked = pb.ModelStatisticsRequest()
        return await calls.answer(request, f"{SERVICE}/ModelStatistics", lambda _: asked, _plain)

    async def config(request: Request) -> Response:
        path = request.path_params
        asked = pb.ModelConfigRequest(name=path["model"], version=path.get("version", ""))
        method = f"{SERVICE}/ModelConfig"
        return await calls.answer(request, method, lambda _: asked, _config, asked)

    return [
        Route("/v2/repository/index", index, methods=["POST"]),
        Route("/v2/models/stats", stats),
        Route("/v2/models/{model}/config", config),
        Route("/v2/models/{model}/versions/{version}/config", config),
    ]


def _index(answer: Any) -> Response:
    return json_text.response(_fields(answer).get("models", []))


def _plain(answer: Any) -> Response:
    return json_text.response(_fields(answer))


def _config(answer: Any) -> Response:
    return json_text.response(_fields(answer.config))


def _fields(answer: Any) -> Any:
    found = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _numbers(found)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: int(v) if k in {"count", "ns"} else _numbers(v) for k, v in value.items()}
    return [_numbers(one) for one in value] if isinstance(value, list) else value
