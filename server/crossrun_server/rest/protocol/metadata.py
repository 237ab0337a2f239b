"""What the server, its models and their statistics are."""

from starlette.responses import Response

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.rest import json_text
from crossrun_server.rest.protocol.endpoints import Endpoint, plain, written

MODEL = {"model": "name", "version": "version"}
_MODEL = "/v2/models/{model}"
_VERSION = f"{_MODEL}/versions/{{version}}"


def _about(path: str) -> tuple[Endpoint, ...]:
    """Return what answers about a model or a version."""
    return (
        Endpoint("GET", path, "ModelMetadata", pb.ModelMetadataRequest, MODEL, written,
                 "What a model takes and returns"),
        Endpoint("GET", f"{path}/config", "ModelConfig", pb.ModelConfigRequest, MODEL,
                 _config, "The configuration of a model"),
        Endpoint("GET", f"{path}/stats", "ModelStatistics", pb.ModelStatisticsRequest, MODEL,
                 written, "What a model has done"),
    )  # fmt: skip


def _config(answer: pb.ModelConfigResponse) -> Response:
    return json_text.response(plain(answer.config))


ENDPOINTS = (
    Endpoint("GET", "/v2", "ServerMetadata", pb.ServerMetadataRequest, {}, written,
             "The server's name, its version and its extensions"),
    Endpoint("GET", "/v2/models/stats", "ModelStatistics", pb.ModelStatisticsRequest, {}, written,
             "What all models have done"),
    *_about(_MODEL),
    *_about(_VERSION),
)  # fmt: skip
