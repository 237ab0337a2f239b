"""Whether the server and its models are live and ready: by the status, and in JSON, for KServe."""

from starlette.responses import Response

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.rest import json_text
from crossrun_server.rest.protocol.endpoints import Endpoint, plain
from crossrun_server.rest.protocol.metadata import MODEL

UNREADY = 503


def _told(answer: pb.ServerLiveResponse | pb.ServerReadyResponse) -> Response:
    found = plain(answer)
    response = json_text.response(found)
    response.status_code = 200 if all(found.values()) else UNREADY
    return response


ENDPOINTS = (
    Endpoint("GET", "/v2/health/live", "ServerLive", pb.ServerLiveRequest, {}, _told,
             "Whether the server answers at all"),
    Endpoint("GET", "/v2/health/ready", "ServerReady", pb.ServerReadyRequest, {}, _told,
             "Whether the server takes requests"),
    *(Endpoint("GET", path, "ModelReady", pb.ModelReadyRequest, MODEL, _told,
               "Whether a model takes requests")
      for path in ("/v2/models/{model}/ready", "/v2/models/{model}/versions/{version}/ready")),
)  # fmt: skip
