"""Loads and unloads models, and waits for them, on any server that has Triton's extension."""

import time
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.model_config_pb2 import ModelConfig
from crossrun_client import server
from crossrun_client.connection import Connection
from crossrun_client.errors import ClientError, Lost, Refused

_PAUSE_S = 0.1
_EXPLICIT = "explicit model load / unload is not allowed"  # Triton's words, and ours
_HOW = "start it with: crossrun-serve MODELS --model-control-mode explicit --load-model '*'"
# What a server that is starting, or behind something that is, may answer.
_NOT_YET = {StatusCode.UNAVAILABLE, StatusCode.UNIMPLEMENTED, StatusCode.NOT_FOUND}


@dataclass(frozen=True)
class Loaded:
    """A model as it serves: enough to load it again so."""

    name: str
    config: ModelConfig
    versions: tuple[str, ...]  # oldest first
    placed: server.Placed | None  # of the newest version


def load(connection: Connection, name: str, config: ModelConfig | None = None) -> None:
    """Load a model, or load it again; it goes on serving meanwhile.

    Args:
        connection: to the server.
        name: the model's.
        config: is used instead of config.pbtxt.

    Raises:
        Refused: it cannot be loaded, and what served before goes on; or the server loads none.
        Lost: no answer came; the load may go on.
    """
    request = pb.RepositoryModelLoadRequest(model_name=name)
    if config is not None:
        text = json_format.MessageToJson(config, preserving_proto_field_name=True)
        request.parameters["config"].string_param = text
    _controlled(connection, connection.oip.RepositoryModelLoad, request)


def unload(connection: Connection, name: str) -> None:
    """Unload a model, once its requests are answered.

    Raises:
        ClientError: there is no such model, or the server unloads none.
    """
    request = pb.RepositoryModelUnloadRequest(model_name=name)
    _controlled(connection, connection.oip.RepositoryModelUnload, request)


def _controlled(connection: Connection, call: object, request: object) -> None:
    try:
        connection.ask(call, request)  # type: ignore[arg-type]
    except Refused as error:
        if _EXPLICIT in str(error):
            raise ClientError(f"the server loads no models that it is asked for; {_HOW}") from error
        raise


def loaded(connection: Connection, name: str) -> Loaded:
    """Return a model as it serves.

    Raises:
        ClientError: it is not loaded, or the server does not tell its configuration.
    """
    metadata = connection.ask(connection.oip.ModelMetadata, pb.ModelMetadataRequest(name=name))
    config = connection.ask(connection.oip.ModelConfig, pb.ModelConfigRequest(name=name)).config
    versions = tuple(metadata.versions)
    placed = server.placements(connection).get((name, versions[-1])) if versions else None
    return Loaded(name, config, versions, placed)


def parameter(config: ModelConfig, key: str) -> str:
    """Return a text of a configuration's `parameters`; empty if it has none of that name."""
    # Asking a map for a key that it does not have would put it there.
    return config.parameters[key].string_value if key in config.parameters else ""


def read_config(file: Path) -> ModelConfig:
    """Read a configuration from JSON.

    Raises:
        ClientError: it cannot be read, or is none.
    """
    try:
        return json_format.Parse(file.read_text("utf-8"), ModelConfig())
    except (OSError, UnicodeDecodeError, json_format.ParseError) as error:
        raise ClientError(f"{file}: expected a ModelConfig as JSON: {error}") from error


def wait(connection: Connection, name: str, seconds: float) -> None:
    """Wait until a server takes requests, or one of its models does.

    Args:
        connection: to the server.
        name: the model's; empty for the server.
        seconds: how long at most.

    Raises:
        ClientError: it does not in time, or what stands in the way does not pass by waiting.
    """
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        try:
            if _serves(connection, name, max(left, _PAUSE_S)):
                return
            why = "it is not ready"
        except Lost as error:
            why = str(error)
        except Refused as error:
            if error.code not in _NOT_YET:
                raise
            why = str(error)
        if left <= _PAUSE_S:
            raise ClientError(f"waited {seconds:g} s for {name or 'the server'}: {why}")
        time.sleep(_PAUSE_S)


def _serves(connection: Connection, name: str, seconds: float) -> bool:
    if name:
        request = pb.ModelReadyRequest(name=name)
        return bool(connection.ask(connection.oip.ModelReady, request, seconds).ready)
    answer = connection.ask(connection.oip.ServerReady, pb.ServerReadyRequest(), seconds)
    return bool(answer.ready)
