"""Connections over TLS, through both front ends and to the metrics."""

import re
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import ServingError
from crossrun_server.fronts import certificates as reading
from crossrun_server.fronts import choice
from crossrun_server.fronts.certificates import Files, TlsOptions
from crossrun_server.fronts.choice import FrontName
from crossrun_server.fronts.limits import Limits
from tests.support import certificates, fronts
from tests.support.certificates import LONG_AGO, Pair, channel, issued
from tests.support.pictures import plain
from tests.support.requests import refusal, simple
from tests.support.running import BIN, Server, run_command, serving
from tests.support.vision import classify

MEGABYTE = 1 << 20
AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
SETTINGS = 4  # the kind of HTTP/2's first frame


@pytest.fixture(scope="module")
def files(front: str, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of both servers; clients have their certificates of the same authority."""
    folder = tmp_path_factory.mktemp(f"{front}-files")
    return certificates.put(folder, issued(AUTHORITY), AUTHORITY)


@pytest.fixture(scope="module")
def encrypted(front: str, files: Files, tiny_models: Path) -> Iterator[Server]:
    """A server that demands TLS."""
    words = ("--front", front, *certificates.options(files))
    with serving(tiny_models, files.key.with_name("log"), *words) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(front: str, files: Files, two_models: Path) -> Iterator[Server]:
    """A server that demands certificates of its clients, too."""
    words = ("--front", front, *certificates.options(files, mutual=True))
    with serving(two_models, files.key.with_name("mutual-log"), *words) as running:
        yield running


@pytest.fixture
def good(files: Files, encrypted: Server) -> Iterator[Files]:
    """The files of a server, which a test may change."""
    yield files
    right = issued(AUTHORITY)
    certificates.put(files.key.parent, right)
    certificates.until_shown(encrypted.address, right)


def test_requests_of_all_kinds_are_answered(encrypted: Server) -> None:
    """Short ones, long ones, pictures and streams."""
    large = pb.ModelInferRequest(model_name="identity_uint8")
    large.inputs.add(name="x", datatype="UINT8", shape=[1, 2 * MEGABYTE])
    large.raw_input_contents.append(bytes(range(256)) * (2 * MEGABYTE // 256))
    with channel(encrypted.address, AUTHORITY) as opened:
        stub = Stub(opened)
        assert stub.ModelInfer(simple(1, 2)).outputs[0].shape == [2, 16]
        assert stub.ModelInfer(large).raw_output_contents == list(large.raw_input_contents)
        assert classify(opened, plain(255, 0, 0)).results[0].classes[0].label == "red"
        assert len(list(stub.ModelStreamInfer(iter([simple(1)] * 3)))) == 3


def test_only_later_versions_than_1_1_are_spoken(encrypted: Server) -> None:
    """At the port of the metrics, too."""
    for address in (encrypted.address, encrypted.metrics):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = certificates.trusting(AUTHORITY)
            context.minimum_version = context.maximum_version = version
            with certificates.connected(address, context) as client:
                assert client.version() == version.name.replace("_", ".")
        with pytest.raises(ssl.SSLError, match=r"ALERT|EOF"):  # the server's no, not our own
            certificates.connected(address, certificates.old(AUTHORITY))


def test_a_client_has_to_ask_for_http2(encrypted: Server) -> None:
    """By ALPN: who asks for something else, or for nothing, gets no frame."""

    def frame(*protocols: str) -> bytes:
        context = certificates.trusting(AUTHORITY, protocols)
        return certificates.first_frame(encrypted.address, context)

    assert frame("h2", "http/1.1")[3] == SETTINGS
    assert frame("http/1.1") == b""
    assert frame() == b""


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (issued(STRANGER), "unable to get local issuer certificate"),
        (issued(AUTHORITY, "other.example"), "IP address mismatch"),
        (issued(AUTHORITY, until=LONG_AGO), "certificate has expired"),
    ],
    ids=["authority", "host", "expired"],
)
def test_clients_refuse_a_server_that_they_cannot_trust(
    encrypted: Server, good: Files, pair: Pair, reason: str
) -> None:
    """Of an unknown authority, for another host, or expired."""
    certificates.put(good.key.parent, pair)
    certificates.until_shown(encrypted.address, pair)
    with channel(encrypted.address, AUTHORITY) as opened:
        code, _ = refusal(Stub(opened).ServerLive, pb.ServerLiveRequest())
    assert code == StatusCode.UNAVAILABLE
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        certificates.connected(encrypted.address, certificates.trusting(AUTHORITY))


@pytest.mark.parametrize(
    "own",
    [None, issued(STRANGER, "alice"), issued(AUTHORITY, "alice", until=LONG_AGO)],
    ids=["none", "authority", "expired"],
)
def test_a_server_refuses_clients_that_it_cannot_trust(mutual: Server, own: Pair | None) -> None:
    """Without a certificate, with one of an unknown authority, or an expired one."""
    with channel(mutual.address, AUTHORITY, own) as opened:
        code, _ = refusal(Stub(opened).ServerLive, pb.ServerLiveRequest())
    assert code == StatusCode.UNAVAILABLE
    assert scraped(mutual, own) is None


def test_a_client_with_a_certificate_is_answered(mutual: Server) -> None:
    """By all connections, and at the port of the metrics."""
    alice = issued(AUTHORITY, "alice")
    for _ in range(2):
        with channel(mutual.address, AUTHORITY, alice) as opened:
            assert Stub(opened).ModelInfer(simple(1)).outputs
    assert "nv_inference_request_success" in (scraped(mutual, alice) or "")


def test_a_session_is_not_taken_up_again_where_clients_show_certificates(
    front: str, mutual: Server, tmp_path: Path
) -> None:
    """The certificate may have expired since."""
    native_only(front, "gRPC takes sessions up again")
    alice = issued(AUTHORITY, "alice")
    (tmp_path / "own.pem").write_bytes(alice.certificate + alice.key)
    context = certificates.trusting(AUTHORITY)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # whose sessions are there at once
    context.load_cert_chain(tmp_path / "own.pem")
    with certificates.connected(mutual.address, context) as first:
        session = first.session
    with certificates.connected(mutual.address, context, session) as second:
        assert not second.session_reused


def test_metrics_are_encrypted(encrypted: Server) -> None:
    """The log tells their URL; who speaks plain HTTP gets nothing."""
    assert encrypted.metrics.startswith("https:")
    assert "nv_inference_request_success" in (scraped(encrypted, None) or "")
    with pytest.raises(OSError, match=r"reset|closed|Remote end"):
        urllib.request.urlopen(encrypted.metrics.replace("https", "http"), timeout=30)


def scraped(server: Server, own: Pair | None) -> str | None:
    """The metrics, as a client with this certificate gets them; None if it does not."""
    context = certificates.trusting(AUTHORITY, ("http/1.1",))
    if own:
        file = server.log.with_name("own.pem")
        file.write_bytes(own.certificate + own.key)
        context.load_cert_chain(file)
    try:
        with urllib.request.urlopen(server.metrics, timeout=30, context=context) as response:
            text: str = response.read().decode()
            return text
    except (URLError, OSError):
        return None


def test_workers_speak_tls(front: str, files: Files, two_models: Path, tmp_path: Path) -> None:
    """Each of them, and the supervisor, which serves the metrics."""
    words = ("--workers", "2", "--front", front, *certificates.options(files, mutual=True))
    alice = issued(AUTHORITY, "alice")
    with serving(two_models, tmp_path / "log", *words) as running:
        for _ in range(12):
            with channel(running.address, AUTHORITY, alice) as opened:
                assert Stub(opened).ModelInfer(simple(1)).outputs
        text = scraped(running, alice) or ""
    assert re.search(r'nv_inference_request_success\{model="simple".*\} 12', text)


# --- Clients that speak the wrong thing ----------------------------------------------------------


def test_the_log_says_that_a_client_does_not_speak_tls(front: str, encrypted: Server) -> None:
    """Once, however many there are."""
    native_only(front, "gRPC tells nobody why a client cannot come in")
    for _ in range(3):
        with grpc.insecure_channel(encrypted.address, certificates.OWN_CONNECTION) as opened:
            code, _ = refusal(Stub(opened).ServerLive, pb.ServerLiveRequest())
            assert code == StatusCode.UNAVAILABLE
    certificates.until_logged(encrypted.log, "does not speak TLS, which this port demands")
    assert encrypted.log.read_text().count("does not speak TLS") == 1


def test_the_log_says_that_a_client_speaks_tls(front: str, served: Server) -> None:
    """To a port that does not."""
    native_only(front, "gRPC tells nobody why a client cannot come in")
    with channel(served.address, AUTHORITY) as opened:
        code, _ = refusal(Stub(opened).ServerLive, pb.ServerLiveRequest())
    assert code == StatusCode.UNAVAILABLE
    line = certificates.until_logged(served.log, "speaks TLS, which this port does not")
    assert "--grpc-use-ssl" in line


def test_the_log_says_why_a_client_is_refused(front: str, mutual: Server) -> None:
    """Such as that it shows no certificate."""
    native_only(front, "gRPC tells nobody why a client cannot come in")
    with channel(mutual.address, AUTHORITY) as opened:
        refusal(Stub(opened).ServerLive, pb.ServerLiveRequest())
    assert certificates.until_logged(mutual.log, "TLS with a client at 127.0.0.1:")


def native_only(front: str, reason: str) -> None:
    if front == "python":
        pytest.skip(reason)


def test_a_client_that_does_not_finish_its_handshake_is_left(front: str, files: Files) -> None:
    """If it says nothing, or only begins."""
    shown = reading.load(files, choice.chosen(FrontName(front)).secure)
    limits = Limits(handshake_timeout=200)
    served = fronts.served(limits=limits, certificates=shown)

    def ended(port: int) -> list[bytes]:
        return [certificates.rest(port, beginning) for beginning in (b"", b"\x16\x03\x01\x02")]

    assert fronts.asked(front, served, ended) == [b"", b""]


# --- What cannot be started with ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (TlsOptions(use_ssl=True, server_key=Path("k")), "--grpc-use-ssl needs --grpc-server-cert"),
        (
            TlsOptions(use_ssl_mutual=True, server_cert=Path("c"), server_key=Path("k")),
            "--grpc-use-ssl-mutual needs --grpc-root-cert",
        ),
        (
            TlsOptions(server_cert=Path("c"), server_key=Path("k")),
            "--grpc-server-cert and --grpc-server-key would have no effect without --grpc-use-ssl",
        ),
        (
            TlsOptions(
                use_ssl=True, server_cert=Path("c"), server_key=Path("k"), root_cert=Path("r")
            ),
            "--grpc-root-cert would have no effect without --grpc-use-ssl-mutual",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_told(options: TlsOptions, told: str) -> None:
    """A port is never plain by mistake."""
    with pytest.raises(ServingError) as caught:
        options.files()
    assert str(caught.value) == told


def test_a_server_does_not_start_without_its_certificates(tiny_models: Path) -> None:
    """It says which option is missing, before it loads a model."""
    words = [str(BIN / "crossrun-serve"), str(tiny_models), "--no-metrics", "--grpc-use-ssl"]
    ended = run_command(words)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "crossrun-serve: --grpc-use-ssl needs --grpc-server-cert and --grpc-server-key"
    )


def with_password(pair: Pair) -> Pair:
    key = serialization.load_pem_private_key(pair.key, None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    return Pair(pair.certificate, locked)


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (Pair(issued(AUTHORITY).certificate, issued(AUTHORITY).key), "is not the key of the cert"),
        (Pair(issued(AUTHORITY).certificate[:-40], issued(AUTHORITY).key), "in PEM"),
        (Pair(b"", b""), "in PEM"),
        (with_password(issued(AUTHORITY)), "without a password"),
    ],
    ids=["mismatched", "half", "empty", "locked"],
)
def test_certificates_that_cannot_be_used_are_told(
    front: str, tmp_path: Path, pair: Pair, told: str
) -> None:
    """By the names of their files."""
    files = certificates.put(tmp_path, pair, AUTHORITY)
    with pytest.raises(ServingError, match=told) as caught:
        reading.load(files, choice.chosen(FrontName(front)).secure)
    assert str(files.certificate) in str(caught.value)


def test_files_that_change_while_they_are_read_are_not_used(
    front: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was checked is what is shown."""
    files = certificates.put(tmp_path, issued(AUTHORITY), AUTHORITY)
    checked = reading._context

    def changing(files: Files) -> ssl.SSLContext:
        context = checked(files)
        certificates.put(tmp_path, issued(AUTHORITY))
        return context

    monkeypatch.setattr(reading, "_context", changing)
    with pytest.raises(ServingError, match="has changed while it was read"):
        reading.load(files, choice.chosen(FrontName(front)).secure)


def test_missing_files_and_authorities_are_told(front: str, tmp_path: Path) -> None:
    """By their names."""
    form = choice.chosen(FrontName(front)).secure
    files = certificates.put(tmp_path, issued(AUTHORITY))
    with pytest.raises(ServingError, match=r"cannot read .*roots\.pem: No such file"):
        reading.load(files, form)
    assert files.roots
    files.roots.write_text("nothing")
    with pytest.raises(ServingError, match=r"expected certificates in PEM in .*roots\.pem"):
        reading.load(files, form)


def test_a_key_that_only_openssl_knows_is_refused_by_the_native_front(tmp_path: Path) -> None:
    """Before it listens."""
    pytest.importorskip("crossrun_front", reason="the native front end is not installed")
    pair = certificates.named(AUTHORITY, "server", key=ec.generate_private_key(ec.SECP521R1()))
    files = certificates.put(tmp_path, pair, AUTHORITY)
    with pytest.raises(ServingError, match="cannot use"):
        reading.load(files, choice.chosen(FrontName.NATIVE).secure)
