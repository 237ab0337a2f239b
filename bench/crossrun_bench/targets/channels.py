"""Channels to servers, in plain text or over TLS, by their addresses.

HOST:PORT is plain. grpcs://HOST:PORT is TLS, and may name files in PEM as PostgreSQL's addresses
do: grpcs://HOST:PORT?sslrootcert=FILE&sslcert=FILE&sslkey=FILE.
"""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import grpc

from crossrun_bench.errors import BenchError

TLS = "grpcs://"
# The authorities that are trusted, and what this client shows if it is asked who it is.
ROOTS, CERTIFICATE, KEY = FILES = ("sslrootcert", "sslcert", "sslkey")
_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def channel(address: str) -> grpc.Channel:
    """A channel without a limit on messages: 32 pictures of 224 pixels are 4.8 MB.

    Raises:
        BenchError: the address names something unknown, or a file that cannot be read.
    """
    if not address.startswith(TLS):
        return grpc.insecure_channel(address, _UNLIMITED)
    parts = urlsplit(address)
    files = {name: _read(name, file) for name, file in parse_qsl(parts.query, True)}
    credentials = grpc.ssl_channel_credentials(
        files.get(ROOTS), files.get(KEY), files.get(CERTIFICATE)
    )
    return grpc.secure_channel(parts.netloc, credentials, _UNLIMITED)


def _read(name: str, file: str) -> bytes:
    if name not in FILES:
        raise BenchError(f"'{name}' in an address: expected {', '.join(FILES)}")
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BenchError(f"{name}={file}: cannot be read: {error.strerror}") from error
