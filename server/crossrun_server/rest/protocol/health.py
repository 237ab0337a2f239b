"""Whether the server and its models are live and ready."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.describing import operation, path

_MODEL = "Whether a model takes requests"


def _described(name: str, summary: str, *parts: str) -> dict[str, Any]:
    told = operation(name, summary, parameters=path(*parts))
    told["responses"]["503"] = {"description": "No."}
    return {"get": told}


PATHS = {
    "/v2/health/live": _described("live", "Whether the server answers at all"),
    "/v2/health/ready": _described("ready", "Whether the server takes requests"),
    "/v2/models/{model}/ready": _described("modelReady", _MODEL, "model"),
    "/v2/models/{model}/versions/{version}/ready": _described(
        "versionReady", _MODEL, "model", "version"
    ),
}
SERVICE = "/inference.GRPCInferenceService"


def routes(calls: Calls) -> list[Route]:
    """Return the routes of this room."""

    async def live(request: Request) -> Response:
        return await calls.answer(
            request, f"{SERVICE}/ServerLive", lambda _: pb.ServerLiveRequest(), _live
        )

    async def ready(request: Request) -> Response:
        return await calls.answer(
            request, f"{SERVICE}/ServerReady", lambda _: pb.ServerReadyRequest(), _ready
        )

    async def model_ready(request: Request) -> Response:
        asked = pb.ModelReadyRequest(
            name=request.path_params["model"], version=request.path_params.get("version", "")
        )
        return await calls.answer(request, f"{SERVICE}/ModelReady", lambda _: asked, _ready)

    return [
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2/models/{model}/ready", model_ready),
        Route("/v2/models/{model}/versions/{version}/ready", model_ready),
    ]


def _live(answer: Any) -> Response:
    return Response(status_code=200 if answer.live else 503)


def _ready(answer: Any) -> Response:
    return Response(status_code=200 if answer.ready else 503)
