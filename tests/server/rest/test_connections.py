"""Connections over HTTP that are not as they should be: slow, long, torn, or of something else."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionServicer, add_VisionServicer_to_server
from crossrun_server.fronts import certificates as reading
from crossrun_server.fronts.handlers import Served
from crossrun_server.fronts.limits import Limits
from tests.support import certificates, fronts, rest
from tests.support.rest import LIVE, connected, head, told, until_end
from tests.support.running import Server

MEGABYTE = 1 << 20
SHORT = Limits(handshake_timeout=200, keepalive_timeout=200, connection_idle=200)
BEGUN = b"POST /v1/vision/classify HTTP/1.1\r\nhost: localhost\r\n"


class Alive(GRPCInferenceServiceServicer):
    """Is alive."""

    async def ServerLive(self, _request: object, _context: object) -> oip.ServerLiveResponse:  # noqa: N802
        return oip.ServerLiveResponse(live=True)


class Talker(VisionServicer):
    """Finds very much."""

    async def Classify(self, _request: object, _context: object) -> pb.ClassifyResponse:  # noqa: N802
        classes = [pb.Class(index=at, label="y" * 5000) for at in range(4000)]
        return pb.ClassifyResponse(
            results=[pb.Classification(classes=classes)], timings=pb.Timings(decode_us=1)
        )


def register(server: Any) -> None:
    add_GRPCInferenceServiceServicer_to_server(Alive(), server)
    add_VisionServicer_to_server(Talker(), server)


def served(limits: Limits = SHORT) -> Served:
    return fronts.served(register, limits=limits)


@pytest.mark.parametrize(
    "beginning",
    [b"", b"\r\n", b"GET / HT", LIVE[:-2], LIVE + b"GET", LIVE + b"\r\n"],
    ids=["silent", "empty line", "line", "headers", "second", "empty line after"],
)
def test_a_client_that_does_not_finish_its_request_is_left(beginning: bytes) -> None:
    """Also the second request of a connection."""
    answers = rest.asked(served(), lambda port: told(port, beginning))
    assert answers.count(b"200 OK") == beginning.count(LIVE)


def test_a_connection_without_requests_ends() -> None:
    """After the time that gRPC's have."""
    limits = Limits(connection_idle=200)
    assert rest.asked(served(limits), lambda port: told(port, LIVE)).startswith(b"HTTP/1.1 200")


def test_an_old_connection_ends_with_its_answer() -> None:
    """After --grpc-max-connection-age."""
    limits = Limits(connection_age=200)
    assert rest.asked(served(limits), lambda port: told(port, LIVE)).startswith(b"HTTP/1.1 200")


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """Also if it comes, but a byte at a time."""

    def ask(port: int) -> bytes:
        with connected(port) as client:
            client.sendall(BEGUN + b"content-length: 1000000\r\n\r\n")
            client.settimeout(0.05)
            while True:
                try:
                    client.sendall(b"x")
                    return client.recv(100)
                except TimeoutError:
                    continue

    assert rest.asked(served(), ask).startswith(b"HTTP/1.1 408")


def test_what_follows_a_refusal_is_not_read_for_ever() -> None:
    """The client has been answered, and has its time to end its body."""

    def ask(port: int) -> bytes:
        with connected(port) as client:
            client.sendall(BEGUN + b"content-length: 99999999999\r\n\r\n")
            answer = head(client)
            try:
                while True:
                    client.sendall(bytes(1000))
                    time.sleep(0.01)
            except OSError:
                return answer

    assert rest.asked(served(), ask).startswith(b"HTTP/1.1 413")


def test_an_answer_that_nobody_reads_is_let_go() -> None:
    """With what it holds, which counts until then."""
    what = served(Limits(keepalive_timeout=1000))

    def ask(port: int) -> int:
        with connected(port) as client:
            client.sendall(BEGUN + b"content-length: 1\r\n\r\nx")
            while what.load.bytes_in_flight() < 10 * MEGABYTE:
                time.sleep(0.01)
            told(port, LIVE[:-2] + b"connection: close\r\n\r\n")
            assert what.load.bytes_in_flight() > 10 * MEGABYTE
            while what.load.bytes_in_flight():
                time.sleep(0.01)
            return len(until_end(client))

    assert rest.asked(what, ask) < 15 * MEGABYTE


def test_a_client_that_does_not_finish_its_handshake_is_left(tmp_path: Path) -> None:
    """If it says nothing, or only begins."""
    files = certificates.put(tmp_path, certificates.issued(trustme.CA()))
    shown = reading.load(reading.Files(files.certificate, files.key, None), lambda _: None)
    what = fronts.served(limits=SHORT, certificates=shown)

    def ended(port: int) -> list[bytes]:
        return [certificates.rest(port, beginning) for beginning in (b"", b"\x16\x03\x01\x02")]

    assert rest.asked(what, ended) == [b"", b""]
    (found,) = what.failures.read()
    assert found.reason == "Transport"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: abc\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        BEGUN + b"content-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
        BEGUN + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + LIVE,
        BEGUN + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n" + LIVE,
        BEGUN + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" + LIVE,
        BEGUN + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n" + LIVE,
        BEGUN + b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n" + LIVE,
        BEGUN + b"transfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + LIVE,
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n" + LIVE,
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n" + LIVE,
        b"GET / HTTP/1.1\r\nhost: localhost\r\n: empty\r\n\r\n" + LIVE,
        b"GET / HTTP/7.0\r\nhost: localhost\r\n\r\n" + LIVE,
        b"CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n" + LIVE,
        b"BREW / HTTP/1.1\r\n\r\n" + LIVE,
        certificates.PREFACE,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\xff" * 1000,
    ],
)  # fmt: skip
def test_what_two_readers_might_read_in_two_ways_is_refused(
    resting: Server, request_: bytes
) -> None:
    """And nothing behind it is read."""
    found = told(resting, request_)
    assert found.count(b"HTTP/1.1 ") == 1
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b'{"error": "' in found


def test_a_head_has_a_limit(resting: Server) -> None:
    """By one header, by many, by the path, and by what follows chunks."""
    many = b"".join(b"x-%d: y\r\n" % at for at in range(10_000))
    for request in (
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n" + many + b"\r\n",
        b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        BEGUN + b"transfer-encoding: chunked\r\n\r\n0\r\n" + many + b"\r\n",
    ):
        assert b"HTTP/1.1 431 " in told(resting, request)


def test_requests_may_be_sent_ahead(resting: Server) -> None:
    """They are answered in their order; too many end the connection."""
    missing = b"GET /missing HTTP/1.1\r\nhost: localhost\r\n\r\n"
    last = b"GET /last HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    found = told(resting, LIVE + missing + LIVE + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200", b"404", b"200", b"404"]
    assert told(resting, LIVE * 2000).count(b"200 OK") < 100


def test_http_1_0_is_spoken(resting: Server) -> None:
    """The connection ends with the answer."""
    assert told(resting, b"GET /v2/health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_an_offer_of_http_2_is_not_taken(resting: Server) -> None:
    """The request is answered all the same; what follows could be anything, and is not read."""
    offer = (
        b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n"
    )
    assert told(resting, LIVE[:-2] + offer).startswith(b"HTTP/1.1 200 ")


def test_the_log_says_what_a_client_speaks(resting: Server) -> None:
    """TLS, or gRPC, to a port of plain HTTP."""
    told(resting, b"\x16\x03\x01\x02\x00\x01")
    told(resting, certificates.PREFACE)
    assert "a client speaks TLS" in resting.log.read_text()
    assert "a client speaks HTTP/2, as gRPC does" in resting.log.read_text()


def test_connections_have_a_limit(resting: Server) -> None:
    """One more is closed at once."""
    clients = [connected(resting) for _ in range(40)]
    try:
        for client in clients:
            client.sendall(LIVE)
            assert head(client).startswith(b"HTTP/1.1 200")
        assert told(resting, LIVE) == b""
    finally:
        for client in clients:
            client.close()
    while not told(resting, LIVE[:-2] + b"connection: close\r\n\r\n"):
        time.sleep(0.01)
