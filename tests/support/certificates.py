"""Certificates of authorities of the tests' own, in files and in clients' hands."""

import socket
import ssl
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crossrun_server.fronts.certificates import Files

HOST = "127.0.0.1"
LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)
# Each channel has a connection, and so a handshake, of its own.
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
HTTP2 = ("h2",)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, both in PEM."""

    certificate: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        """The certificate as it is on the wire."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.decode())


def issued(authority: trustme.CA, *names: str, until: datetime | None = None) -> Pair:
    """A certificate for these names; for this machine by default."""
    begins = until and until - timedelta(days=1)
    leaf = authority.issue_cert(*(names or (HOST, "localhost")), not_before=begins, not_after=until)
    return Pair(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())


def named(
    authority: trustme.CA,
    common_name: str,
    *alternatives: x509.GeneralName,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Pair:
    """A certificate with names of any kind."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer.subject,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]),
        key.public_key(),
        x509.random_serial_number(),
        now - timedelta(hours=1),
        now + timedelta(hours=1),
    ).add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    signing = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    made = builder.sign(signing, hashes.SHA256())
    return Pair(
        made.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def put(folder: Path, pair: Pair, *roots: trustme.CA) -> Files:
    """Write the files of a server, the certificate and the key one after the other."""
    files = Files(folder / "server.pem", folder / "server.key", folder / "roots.pem")
    replace(files.certificate, pair.certificate)
    replace(files.key, pair.key)
    if files.roots and roots:
        replace(files.roots, b"".join(one.cert_pem.bytes() for one in roots))
    return files


def replace(file: Path, content: bytes) -> None:
    """Write a file as who renews certificates should: whole, and then by its name."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.replace(file)


def options(files: Files, *, mutual: bool = False) -> list[str]:
    """What a server is started with."""
    asked = ["--grpc-server-cert", str(files.certificate), "--grpc-server-key", str(files.key)]
    if mutual:
        return [*asked, "--grpc-use-ssl-mutual", "--grpc-root-cert", str(files.roots)]
    return [*asked, "--grpc-use-ssl"]


def channel(address: str, authority: trustme.CA, own: Pair | None = None) -> grpc.Channel:
    """A channel of a client that knows an authority, and may have a certificate of its own."""
    known = authority.cert_pem.bytes()
    certificate, key = (own.certificate, own.key) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(known, key, certificate)
    return grpc.secure_channel(address, credentials, OWN_CONNECTION)


def trusting(authority: trustme.CA, alpn: Sequence[str] = HTTP2) -> ssl.SSLContext:
    """Python's own TLS, of a client that knows an authority."""
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    context.set_alpn_protocols(list(alpn))
    return context


def old(authority: trustme.CA) -> ssl.SSLContext:
    """A client that speaks no later TLS than 1.1, and would."""
    context = trusting(authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def connected(
    address: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """Open a connection to an address or a URL.

    Raises:
        SSLError: client and server do not agree.
    """
    place = urlsplit(address if "//" in address else f"//{address}")
    assert place.port is not None
    plain = socket.create_connection((HOST, place.port), timeout=30)
    try:
        return context.wrap_socket(plain, server_hostname=HOST, session=session)
    except BaseException:
        plain.close()
        raise


def rest(port: int, beginning: bytes) -> bytes:
    """What a server sends to a client that only begins, until it leaves."""
    with socket.create_connection((HOST, port), timeout=60) as client:
        client.sendall(beginning)
        try:
            return client.recv(9)
        except ConnectionResetError:
            return b""


def first_frame(address: str, context: ssl.SSLContext) -> bytes:
    """The head of the first frame of HTTP/2 that a server sends; nothing if it leaves."""
    try:
        with connected(address, context) as client:
            client.sendall(PREFACE)
            return client.recv(9)
    except OSError:
        return b""


def shown(address: str) -> bytes | None:
    """The certificate that a server shows, whoever has issued it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(HTTP2))
    with connected(address, context) as client:
        return client.getpeercert(binary_form=True)


def until_shown(address: str, pair: Pair) -> None:
    """Wait until a server shows a certificate."""
    while shown(address) != pair.der:
        time.sleep(0.05)


def until_logged(log: Path, text: str) -> str:
    """Wait for a line of a log; returns it."""
    while True:
        for line in log.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.05)
