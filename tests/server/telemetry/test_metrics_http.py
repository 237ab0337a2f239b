"""The server of the metrics port: clients that say nothing cost little, and not for long."""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from threading import Thread, active_count
from typing import Any

import pytest
import trustme

from crossrun_server.telemetry import metrics_http
from crossrun_server.telemetry.metrics_http import THREADS, MetricsServer

GET = b"GET /metrics HTTP/1.0\r\n\r\n"


def hello(_: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [])
    return [b"hello"]


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def encrypted(request: pytest.FixtureRequest) -> bool:
    wanted: bool = request.param
    return wanted


@pytest.fixture
def port(encrypted: bool) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with MetricsServer("127.0.0.1", 0, hello, (lambda: context) if encrypted else None) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def everything(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(4096):
        parts.append(part)
    return b"".join(parts)


def spoken(client: socket.socket, *, encrypted: bool) -> socket.socket:
    """The connection, with TLS if the server speaks that."""
    if not encrypted:
        return client
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(client)


def test_silent_clients_take_few_threads(port: int, encrypted: bool) -> None:
    """Who comes while all threads are taken is refused at once; later others are answered."""
    refusal = b"" if encrypted else b"HTTP/1.0 503 Service Unavailable"
    before = active_count()
    silent = [connected(port) for _ in range(THREADS)]
    for _ in range(3):
        with connected(port) as refused:
            assert everything(refused)[: len(refusal) or 1] == refusal
    assert active_count() <= before + THREADS + 1  # the alarms have one, too
    for client in silent:
        client.close()
    while not answered(port, encrypted=encrypted):
        pass


def answered(port: int, *, encrypted: bool) -> bool:
    """Whether there is room for a client."""
    try:
        with spoken(connected(port), encrypted=encrypted) as client:
            client.sendall(GET)
            return everything(client).endswith(b"hello")
    except OSError:
        return False


def test_slow_clients_are_left(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends a byte now and then is cut off as well as one that sends nothing."""
    monkeypatch.setattr(metrics_http, "LONGEST", 0.2)
    with connected(port) as silent, connected(port) as dripping:
        assert everything(silent) == b""
        assert drip(dripping) is not None


def drip(client: socket.socket) -> OSError | None:
    """Send a long line bit by bit; returns what the server's leaving is to the client."""
    for _ in range(1000):
        time.sleep(0.01)
        try:
            client.sendall(b"G")
        except OSError as error:
            return error
    return None
