"""Which execution providers there are, and which compute the models: crossrun.v1.Providers."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun.v1 import providers_pb2 as pb
from crossrun_server.rest import describing, json_text
from crossrun_server.rest.calls import Calls

SERVICE = "/crossrun.v1.Providers"
OF_MODEL = (
    describing.query("model", describing.TEXT, "Only of this model."),
    describing.query("version", describing.TEXT, "Only of this version."),
)
PATHS = {
    "/v1/providers": {
        "get": describing.operation(
            "providers", "Which execution providers there are", describing.OBJECT
        )
    },
    "/v1/placements": {
        "get": describing.operation(
            "placements",
            "Which providers compute the models",
            describing.OBJECT,
            parameters=OF_MODEL,
        )
    },
}


def routes(calls: Calls) -> list[Route]:
    """Return the routes of this room."""

    async def providers(request: Request) -> Response:
        everything = pb.ListProvidersRequest()
        method = f"{SERVICE}/ListProviders"
        return await calls.answer(request, method, lambda _: everything, _write)

    async def placements(request: Request) -> Response:
        query = request.query_params
        asked = pb.ListPlacementsRequest(
            model=query.get("model", ""), version=query.get("version", "")
        )
        method = f"{SERVICE}/ListPlacements"
        return await calls.answer(request, method, lambda _: asked, _write, names=asked)

    return [Route("/v1/providers", providers), Route("/v1/placements", placements)]


def _write(answer: Any) -> Response:
    found = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json_text.response(found)
