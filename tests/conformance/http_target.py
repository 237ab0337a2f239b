"""The server under test over HTTP: the cases' messages as its requests, its answers as messages."""

import base64
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from threading import local
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, urlsplit

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance import http_infer
from tests.conformance.target import LIMIT, Target

CODES = {
    400: StatusCode.INVALID_ARGUMENT,
    404: StatusCode.NOT_FOUND,
    405: StatusCode.UNIMPLEMENTED,
    409: StatusCode.ALREADY_EXISTS,
    413: StatusCode.RESOURCE_EXHAUSTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
AT_ONCE = 16
SYSTEM, CUDA = "/v2/systemsharedmemory", "/v2/cudasharedmemory"


class HttpError(grpc.RpcError):
    """A request has failed; has what the cases use of grpc.Call."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self._status, self._text = status, text

    def code(self) -> StatusCode:
        """The status in gRPC's words."""
        return CODES[self._status]

    def details(self) -> str:
        """The text."""
        return self._text


class Answer(NamedTuple):
    """What has come back."""

    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Sent(NamedTuple):
    """A request on its way; has what the cases use of grpc.Future."""

    future: Future[Any]

    def result(self) -> Any:
        """Wait for the answer."""
        return self.future.result(LIMIT)

    def code(self) -> StatusCode:
        """Wait for the status."""
        error = self.future.exception(LIMIT)
        assert error is None or isinstance(error, HttpError)
        return error.code() if error else StatusCode.OK

    def cancel(self) -> NoReturn:
        """Skip the case."""
        pytest.skip("HTTP has no cancelling")


class HttpTarget(Target):
    """As Target; cases that are about gRPC itself are skipped.

    Args:
        address: http://HOST:PORT.
        complete, same_host: see Target.
    """

    def __init__(self, address: str, complete: bool, same_host: bool) -> None:
        super().__init__(address, complete, same_host)
        self._local = local()
        self._connections: list[HTTPConnection] = []  # of all threads
        self._threads = ThreadPoolExecutor(AT_ONCE)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()

    def connect(self) -> NoReturn:
        """Skip the case."""
        pytest.skip("HTTP has no channels")

    def stream(self, messages: Any) -> NoReturn:  # noqa: ARG002 - Target's
        """Skip the case."""
        pytest.skip("HTTP has no streams")

    def bytes_call(self, rpc: str, data: bytes) -> NoReturn:  # noqa: ARG002 - as above
        """Skip the case."""
        pytest.skip("HTTP has no messages in bytes")

    def call(self, rpc: str, message: Any, **options: Any) -> Any:
        """Send the request that is an RPC's; what goes wrong is a grpc.RpcError."""
        if options:
            pytest.skip(f"HTTP has no {', '.join(options)} of calls")
        return CALLS[rpc](self, message)

    def future(self, message: pb.ModelInferRequest, timeout: float = LIMIT) -> Any:
        """Send an inference without waiting for it."""
        if timeout != LIMIT:
            pytest.skip("HTTP has no deadlines")
        self.need(message.model_name)
        return Sent(self._threads.submit(self.call, "ModelInfer", message))

    def ask(
        self, verb: str, path: str, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request; a body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = self._connection()
        connection.request(verb, path, data, dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise HttpError(answer.status, json.loads(text).get("error", ""))
        return Answer({name.lower(): value for name, value in answer.getheaders()}, text)

    def _connection(self) -> HTTPConnection:
        if not hasattr(self._local, "connection"):
            place = urlsplit(self.address)
            self._local.connection = HTTPConnection(place.netloc, timeout=LIMIT)
            self._connections.append(self._local.connection)
        connection: HTTPConnection = self._local.connection
        return connection


def _model(message: Any) -> str:
    """Return the path of a model, or of a version."""
    name = getattr(message, "name", "") or getattr(message, "model_name", "")
    version = getattr(message, "version", "") or getattr(message, "model_version", "")
    path = f"/v2/models/{quote(name, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _live(target: HttpTarget, _message: Any) -> pb.ServerLiveResponse:
    target.ask("GET", "/v2/health/live")
    return pb.ServerLiveResponse(live=True)


def _ready(target: HttpTarget, _message: Any) -> pb.ServerReadyResponse:
    target.ask("GET", "/v2/health/ready")
    return pb.ServerReadyResponse(ready=True)


def _model_ready(target: HttpTarget, message: Any) -> pb.ModelReadyResponse:
    try:
        target.ask("GET", f"{_model(message)}/ready")
    except HttpError:
        return pb.ModelReadyResponse(ready=False)
    return pb.ModelReadyResponse(ready=True)


def _server(target: HttpTarget, _message: Any) -> Any:
    return ParseDict(target.ask("GET", "/v2").json, pb.ServerMetadataResponse())


def _metadata(target: HttpTarget, message: Any) -> Any:
    return ParseDict(target.ask("GET", _model(message)).json, pb.ModelMetadataResponse())


def _config(target: HttpTarget, message: Any) -> Any:
    found = target.ask("GET", f"{_model(message)}/config").json
    return ParseDict({"config": found}, pb.ModelConfigResponse())


def _statistics(target: HttpTarget, message: Any) -> Any:
    path = _model(message) if message.name else "/v2/models"
    return ParseDict(target.ask("GET", f"{path}/stats").json, pb.ModelStatisticsResponse())


def _index(target: HttpTarget, message: Any) -> Any:
    name = message.repository_name
    path = f"/v2/repository/{quote(name, safe='')}/index" if name else "/v2/repository/index"
    found = target.ask("POST", path, {"ready": message.ready}).json
    return ParseDict({"models": found}, pb.RepositoryIndexResponse())


def _load(target: HttpTarget, message: Any) -> Any:
    _control(target, message, "load")
    return pb.RepositoryModelLoadResponse()


def _unload(target: HttpTarget, message: Any) -> Any:
    _control(target, message, "unload")
    return pb.RepositoryModelUnloadResponse()


def _control(target: HttpTarget, message: Any, verb: str) -> None:
    sent = {name: _parameter(one) for name, one in message.parameters.items()}
    path = f"/v2/repository/models/{quote(message.model_name, safe='')}/{verb}"
    target.ask("POST", path, {"parameters": sent})


def _parameter(one: Any) -> Any:
    value = http_infer.value(one)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _region(kind: str, message: Any, verb: str) -> str:
    region = f"/region/{quote(message.name, safe='')}" if message.name else ""
    return f"{kind}{region}/{verb}"


def _system_status(target: HttpTarget, message: Any) -> Any:
    found = target.ask("GET", _region(SYSTEM, message, "status")).json
    regions = {one["name"]: one for one in found}
    return ParseDict({"regions": regions}, pb.SystemSharedMemoryStatusResponse())


def _system_register(target: HttpTarget, message: Any) -> Any:
    sent = {"key": message.key, "offset": message.offset, "byte_size": message.byte_size}
    target.ask("POST", _region(SYSTEM, message, "register"), sent)
    return pb.SystemSharedMemoryRegisterResponse()


def _system_unregister(target: HttpTarget, message: Any) -> Any:
    target.ask("POST", _region(SYSTEM, message, "unregister"))
    return pb.SystemSharedMemoryUnregisterResponse()


def _cuda_status(target: HttpTarget, message: Any) -> Any:
    found = target.ask("GET", _region(CUDA, message, "status")).json
    regions = {one["name"]: one for one in found}
    return ParseDict({"regions": regions}, pb.CudaSharedMemoryStatusResponse())


def _cuda_register(target: HttpTarget, message: Any) -> Any:
    handle = {"b64": base64.b64encode(message.raw_handle).decode()}
    sent = {"raw_handle": handle, "device_id": message.device_id, "byte_size": message.byte_size}
    target.ask("POST", _region(CUDA, message, "register"), sent)
    return pb.CudaSharedMemoryRegisterResponse()


def _cuda_unregister(target: HttpTarget, message: Any) -> Any:
    target.ask("POST", _region(CUDA, message, "unregister"))
    return pb.CudaSharedMemoryUnregisterResponse()


def _trace(target: HttpTarget, message: Any) -> Any:
    path = f"{_model(message)}/trace/setting" if message.model_name else "/v2/trace/setting"
    sent = {name: list(one.value) or None for name, one in message.settings.items()}
    found = target.ask("POST", path, sent).json if sent else target.ask("GET", path).json
    listed = {name: one if isinstance(one, list) else [one] for name, one in found.items()}
    return ParseDict(
        {"settings": {name: {"value": one} for name, one in listed.items()}},
        pb.TraceSettingResponse(),
    )


def _log(target: HttpTarget, message: Any) -> Any:
    sent = {name: http_infer.value(one) for name, one in message.settings.items()}
    found = target.ask("POST" if sent else "GET", "/v2/logging", sent or b"").json
    answer = pb.LogSettingsResponse()
    for name, one in found.items():
        kind = {bool: "bool_param", int: "uint32_param", str: "string_param"}[type(one)]
        setattr(answer.settings[name], kind, one)
    return answer


def _infer(target: HttpTarget, message: pb.ModelInferRequest) -> pb.ModelInferResponse:
    body, headers = http_infer.written(message)
    answer = target.ask("POST", f"{_model(message)}/infer", body, headers)
    return http_infer.read(answer.headers, answer.body)


CALLS = {
    "ServerLive": _live,
    "ServerReady": _ready,
    "ModelReady": _model_ready,
    "ServerMetadata": _server,
    "ModelMetadata": _metadata,
    "ModelConfig": _config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
    "SystemSharedMemoryStatus": _system_status,
    "SystemSharedMemoryRegister": _system_register,
    "SystemSharedMemoryUnregister": _system_unregister,
    "CudaSharedMemoryStatus": _cuda_status,
    "CudaSharedMemoryRegister": _cuda_register,
    "CudaSharedMemoryUnregister": _cuda_unregister,
    "TraceSetting": _trace,
    "LogSettings": _log,
    "ModelInfer": _infer,
}
