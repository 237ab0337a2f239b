"""Requests over HTTP are held to what gRPC's are: sizes, time, who may make them, the stop."""

import base64
import gzip
import json
import re
import signal
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

import pytest
import trustme

from tests.support import certificates, models
from tests.support.access import FOREIGN, entry, write
from tests.support.certificates import issued
from tests.support.requests import AGES
from tests.support.rest import ask, connected, head, told, until_end
from tests.support.running import HTTP, Server, serving

MEGABYTE = 1 << 20
CLASSIFY = "/v1/vision/classify?model=colours"
BEGUN = b"POST /v1/vision/classify?model=colours HTTP/1.1\r\nhost: localhost\r\n"
SLOW = "/v1/models/slow:predict"
AUTHORITY = trustme.CA()


def memory(server: Server) -> int:
    """Bytes that a server has had at most."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def test_a_body_that_is_too_large_is_not_read(resting: Server) -> None:
    """The refusal comes before the client is told to go on; a small one is waited for."""
    with connected(resting) as client:
        client.sendall(BEGUN + b"expect: 100-continue\r\ncontent-length: 9000000\r\n\r\n")
        assert head(client).startswith(b"HTTP/1.1 413")
    with connected(resting) as client:
        client.sendall(BEGUN + b"expect: 100-continue\r\ncontent-length: 9\r\n\r\n")
        assert head(client).startswith(b"HTTP/1.1 100")


def test_a_body_in_chunks_has_the_same_limit(resting: Server) -> None:
    """It says no length."""
    chunk = b"%x\r\n%b\r\n" % (MEGABYTE, bytes(MEGABYTE))
    with connected(resting) as client:
        client.sendall(BEGUN + b"transfer-encoding: chunked\r\n\r\n" + 9 * chunk)
        assert head(client).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_a_body_may_be_packed(resting: Server, packing: str) -> None:
    """It counts unpacked: what inflates is stopped at the limit."""
    pack = gzip.compress if packing == "gzip" else zlib.compress
    headers = {"content-encoding": packing}
    body = pack(json.dumps({"instances": [[1.5]]}).encode())
    path = "/v1/models/identity_fp32:predict"
    assert ask(resting, "POST", path, body, headers=headers).json == {"predictions": [[1.5]]}
    before = memory(resting)
    answer = ask(resting, "POST", CLASSIFY, pack(bytes(96 * MEGABYTE)), headers=headers)
    assert answer.status == 413
    assert memory(resting) - before < 48 * MEGABYTE


def test_a_packing_that_is_none_is_refused(resting: Server) -> None:
    """Or that nobody knows."""
    for packing in ("gzip", "br"):
        headers = {"content-encoding": packing}
        answer = ask(resting, "POST", CLASSIFY, b"{}", headers=headers)
        assert answer.status == 400
        assert packing in answer.json["error"]


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_answers_are_packed_for_who_asks(resting: Server, packing: str) -> None:
    """If they are long enough to be worth it."""
    body = {"instances": [[1.0] * 2000]}
    headers = {"accept-encoding": packing}
    answer = ask(resting, "POST", "/v1/models/identity_fp32:predict", body, headers=headers)
    assert answer.headers["content-encoding"] == packing
    whole = zlib.decompress(answer.body, 32 + zlib.MAX_WBITS)
    assert json.loads(whole) == {"predictions": body["instances"]}


def test_bytes_in_flight_have_a_budget(resting: Server) -> None:
    """One connection may have half of it, and all together the whole."""
    part = BEGUN + b"content-length: 8000000\r\n\r\n" + bytes(7_000_000)
    with connected(resting) as one, connected(resting) as two:
        one.sendall(part)
        two.sendall(part)
        with connected(resting) as three:
            three.sendall(part)
            answer = head(three)
            assert answer.startswith(b"HTTP/1.1 429")
    for _ in range(1000):  # until those two are known to have left
        if ask(resting, "POST", CLASSIFY, bytes(7_000_000)).status == 400:
            return
    raise AssertionError("what has left still counts")


# --- Time -----------------------------------------------------------------------------------------


@pytest.fixture
def slow(slow_model: Path, tmp_path: Path) -> Iterator[Server]:
    with serving(slow_model, tmp_path / "log", *HTTP) as running:
        yield running


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("slow")
    models.write(root, "slow", models.slow(), models.SLOW_CONFIG)
    return root


def test_a_client_may_say_how_long_it_waits(slow: Server) -> None:
    """With gRPC's header; one that leaves makes room as well."""
    headers = {"grpc-timeout": "200m"}
    answer = ask(slow, "POST", SLOW, {"inputs": [20 * AGES]}, headers=headers)
    assert answer.status == 504
    assert "DEADLINE_EXCEEDED" in slow.log.read_text()
    body = json.dumps({"inputs": [20 * AGES]}).encode()
    for _ in range(4):  # one is at work, and one may wait
        with connected(slow) as client:
            asked = b"POST %b HTTP/1.1\r\nhost: localhost\r\n" % SLOW.encode()
            client.sendall(asked + b"content-length: %d\r\n\r\n" % len(body) + body)
            until_queued(slow)
    answer = ask(slow, "POST", SLOW, {"inputs": [1]})
    assert answer.status == 200, answer


def until_queued(server: Server) -> None:
    """Come back once a request is at work."""
    for _ in range(1000):
        if ask(server, "POST", SLOW, {"inputs": [1]}, headers={"grpc-timeout": "20m"}).status > 200:
            return
    raise AssertionError("nothing is at work")


@pytest.mark.parametrize("wrong", ["5", "s", "-1S", "123456789S", "1.5S", "1 S", "1٣S"])
def test_a_time_that_is_none_is_refused(resting: Server, wrong: str) -> None:
    """The text says what was expected."""
    headers = {"grpc-timeout": wrong.encode().decode("latin-1")}
    answer = ask(resting, "GET", "/v2/health/live", headers=headers)
    assert answer.status == 400
    assert "grpc-timeout" in answer.json["error"]


def test_what_was_accepted_is_answered_at_the_stop(slow: Server) -> None:
    """What comes later is not, and nobody is left without a word."""
    with ThreadPoolExecutor() as pool:
        accepted = pool.submit(ask, slow, "POST", SLOW, {"inputs": [AGES // 4]})
        until_queued(slow)
        slow.process.send_signal(signal.SIGTERM)
        while "draining" not in slow.log.read_text():
            pass
        with connected(slow) as late:
            body = b'{"inputs": [1]}'
            asked = b"POST %b HTTP/1.1\r\nhost: localhost\r\n" % SLOW.encode()
            late.sendall(asked + b"content-length: %d\r\n\r\n" % len(body) + body)
            told = until_end(late)
        assert accepted.result().status == 200
    assert told.startswith(b"HTTP/1.1 503")
    assert b"connection: close" in told
    assert slow.process.wait(60) == 0
    assert "Traceback" not in slow.log.read_text()


# --- Who ------------------------------------------------------------------------------------------


def test_tokens_are_asked_for(tiny_models: Path, tmp_path: Path) -> None:
    """By status, header and words, before a body is read; a token is for its models."""
    tokens = write(
        tmp_path / "tokens",
        entry("reader", "read"),
        entry("some", "infer", "read", models=["identity_fp*"]),
    )
    options = (*HTTP, "--auth-tokens", str(tokens), "--grpc-restricted-protocol", "statistics:a=b")
    with serving(tiny_models, tmp_path / "log", *options) as server:

        def status(token: str, model: str = "identity_fp32") -> int:
            headers = {"authorization": f"Bearer {token}"}
            body = {"instances": [[1.0]]}
            path = f"/v1/models/{model}:predict"
            return ask(server, "POST", path, body, headers=headers).status

        nobody = ask(server, "GET", "/v1/models")
        assert nobody.status == 401
        assert nobody.headers["www-authenticate"] == "Bearer"
        assert "Bearer TOKEN" in nobody.json["error"]
        assert [status("some"), status(FOREIGN), status("reader")] == [200, 401, 403]
        assert status("some", "simple") == status("some", "missing") == 403
        headers = {"authorization": "Bearer some"}
        assert len(ask(server, "GET", "/v1/models", headers=headers).json["models"]) == 3
        assert ask(server, "GET", "/v1/models/simple", headers=headers).status == 404
        twice = b"authorization: Bearer some\r\n" * 2 + b"connection: close\r\n\r\n"
        found = told(server, b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n" + twice)
        assert found.startswith(b"HTTP/1.1 401")
        with connected(server) as client:
            client.sendall(BEGUN + b"content-length: 100\r\n\r\n")
            assert head(client).startswith(b"HTTP/1.1 401")


def test_a_restricted_protocol_needs_its_header(tiny_models: Path, tmp_path: Path) -> None:
    """As over gRPC."""
    options = (*HTTP, "--grpc-restricted-protocol", "inference:key=value")
    with serving(tiny_models, tmp_path / "log", *options) as server:
        path, body = "/v1/models/identity_fp32:predict", {"instances": [[1.0]]}
        assert ask(server, "POST", path, body).status == 401
        headers = {"triton-grpc-protocol-key": "value"}
        assert ask(server, "POST", path, body, headers=headers).status == 200


def test_certificates_are_asked_for(tiny_models: Path, tmp_path: Path) -> None:
    """The same as for gRPC, renewed as well; a caller is known by its certificate."""
    files = certificates.put(tmp_path, issued(AUTHORITY), AUTHORITY)
    named = '[[certificate]]\nname = "alice"\nscopes = ["read"]\n'
    tokens = write(tmp_path / "tokens", named)
    options = (*HTTP, *certificates.options(files, mutual=True), "--auth-tokens", str(tokens))
    context = certificates.trusting(AUTHORITY, ("http/1.1",))
    alice = issued(AUTHORITY, "alice")
    (tmp_path / "own.pem").write_bytes(alice.certificate + alice.key)
    with serving(tiny_models, tmp_path / "log", *options) as server:
        with pytest.raises(OSError, match=r"certificate|reset|EOF|alert|Remote end"):
            ask(server, "GET", "/v1/models", context=context)
        context.load_cert_chain(tmp_path / "own.pem")
        assert ask(server, "GET", "/v1/models", context=context).status == 200
        path = "/v1/models/identity_fp32:predict"
        answer = ask(server, "POST", path, {"instances": [[1.0]]}, context=context)
        assert answer.status == 403
        assert "certificate 'alice'" in answer.json["error"]
        assert told(server, b"GET / HTTP/1.1\r\n\r\n").count(b"HTTP/1.1") == 0
        renewed = issued(AUTHORITY)
        certificates.put(tmp_path, renewed)
        certificates.until_shown(server.http, renewed)
        assert ask(server, "GET", "/v1/models", context=context).status == 200
        log = server.log.read_text()
    assert "it speaks plain HTTP to a port with TLS" in log
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in log or "peer did not return" in log


def test_a_failure_is_told_with_its_call(slow: Server) -> None:
    """In the log and the metrics, as gRPC's; with the trace that the caller is in."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = ask(slow, "POST", SLOW, {"inputs": ["x"]}, headers=headers)
    assert answer.json == {"error": "input 'turns' is INT64, expected whole numbers alone"}
    log = slow.log.read_text()
    assert f"trace_id={trace}" in log
    assert "method=inference.GRPCInferenceService/ModelInfer" in log
    with urlopen(slow.metrics, timeout=30) as response:
        text = response.read().decode()
    assert re.search(r"\{.*INVALID_ARGUMENT.*\} 1", text)


def test_a_picture_in_base64_costs_what_it_holds(resting: Server) -> None:
    """JSON has so many values and no more."""
    text = base64.b64encode(bytes(MEGABYTE)).decode()
    answer = ask(resting, "POST", CLASSIFY, {"images": [{"b64": text}]},
                 headers={"content-type": "application/json"})  # fmt: skip
    assert answer.json == {"error": "images[0]: neither JPEG nor PNG"}
    for body in (b"[" * MEGABYTE, b"0," * 2 * MEGABYTE, b'{"instances": [' + b"0," * 600_000):
        answer = ask(resting, "POST", "/v1/models/identity_fp32:predict", body)
        assert answer.status == 400
        assert "the JSON has more than" in answer.json["error"]
