"""A connection to a server: plain or TLS, with a token, and calls whose errors are one line."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun.v1.providers_pb2_grpc import ProvidersStub
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_client.errors import ClientError, Refused, explained

TLS = "grpcs://"
_HERE = ("localhost:", "127.", "[::1]:", "unix:")
_NOT_TOLD = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED}
# Whoever finds the queue full asks again, a little later.
_OVERLOADED = {
    "name": [{"service": "inference.GRPCInferenceService"}, {"service": "crossrun.v1.Vision"}],
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    },
}
_OPTIONS = [
    ("grpc.max_send_message_length", -1),  # 32 pictures of 224 pixels are 4.8 MB
    ("grpc.max_receive_message_length", -1),
    ("grpc.service_config", json.dumps({"methodConfig": [_OVERLOADED]})),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


@dataclass(frozen=True)
class Target:
    """Where a server is, and what it is shown."""

    address: str  # HOST:PORT, or grpcs://HOST:PORT for TLS
    roots: Path | None = None  # PEM of the authorities that are trusted; the system's by default
    certificate: Path | None = None  # PEM of this client's, for a server that asks for it
    key: Path | None = None
    token: str = ""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted: any of the files asks for it, too."""
        files = (self.roots, self.certificate, self.key)
        return self.address.startswith(TLS) or any(files)

    @property
    def place(self) -> str:
        """HOST:PORT."""
        return self.address.removeprefix(TLS)


class Connection:
    """The services of a server, and the one way to call them."""

    def __init__(self, channel: grpc.Channel, target: Target, timeout: float) -> None:
        """Store the channel; nothing is called.

        Args:
            channel: to the server.
            target: says what it is called.
            timeout: seconds for each answer.
        """
        self.target = target
        self.timeout = timeout
        self.oip: Any = GRPCInferenceServiceStub(channel)
        self.vision: Any = VisionStub(channel)
        self.providers: Any = ProvidersStub(channel)
        token = target.token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def ask(self, call: Callable[..., Any], request: object, timeout: float | None = None) -> Any:
        """Return the answer to a request.

        Raises:
            Refused: the server says no; the error holds its words.
            Lost: no answer came.
        """
        try:
            return call(request, timeout=timeout or self.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise explained(error, self.target.place, tls=self.target.tls) from error

    def told(self, call: Callable[..., Any], request: object) -> Any:
        """Return the answer of an extension; None of a server that lacks it or keeps it to itself.

        Raises:
            ClientError: the server cannot be asked.
        """
        try:
            return self.ask(call, request)
        except Refused as error:
            if error.code in _NOT_TOLD:
                return None
            raise


@contextmanager
def connected(target: Target, timeout: float) -> Iterator[Connection]:
    """Yield a connection, which is made with the first call.

    Raises:
        ClientError: a file cannot be read, or the token would travel in plain text.
    """
    if target.token and not (target.tls or target.place.startswith(_HERE)):
        raise ClientError(
            f"a token can be read on its way to {target.place}: expected TLS, by --tls-roots FILE "
            "or grpcs://HOST:PORT"
        )
    with _channel(target) as channel:
        yield Connection(channel, target, timeout)


def _channel(target: Target) -> grpc.Channel:
    if not target.tls:
        return grpc.insecure_channel(target.place, _OPTIONS)
    if (target.certificate is None) != (target.key is None):
        raise ClientError("expected --tls-cert and --tls-key together")
    files = (target.roots, target.key, target.certificate)
    credentials = grpc.ssl_channel_credentials(*map(_content, files))
    return grpc.secure_channel(target.place, credentials, _OPTIONS)


def _content(file: Path | None) -> bytes | None:
    try:
        return file.read_bytes() if file else None
    except OSError as error:
        raise ClientError(f"{file}: cannot be read: {error.strerror}") from error
