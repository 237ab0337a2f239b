"""The errors that users see: the command prints one in a line, and ends with status 1."""

import re

import grpc


class ClientError(Exception):
    """Something that a user can fix; the text says what was wrong and what was expected."""


class Lost(ClientError):  # noqa: N818 - named after what happened
    """No answer came: nobody knows what the server did."""


class Refused(ClientError):  # noqa: N818
    """The server's own word."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}{_HINTS.get(code, '')}")
        self.code = code


_HINTS = {
    grpc.StatusCode.UNAUTHENTICATED: "; --token or CROSSRUN_TOKEN gives one",
}
# What gRPC says of connections, in UNAVAILABLE as a server's own words are, and what follows.
_BROKEN = re.compile(
    "failed to connect|errors resolving|Socket closed|recvmsg|[Cc]onnection (reset|aborted)|GOAWAY"
    "|Transport closed|Endpoint clos|Broken pipe|[Kk]eepalive|Stream removed"
)
_REASONS = (
    ("Domain name not found|errors resolving", "there is no such host"),
    ("Connection refused", "nobody listens there"),
    ("Hostname Verification", "its certificate is for another host"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is of no authority that is known here"),
    ("WRONG_VERSION_NUMBER|Handshake read failed", "it does not speak TLS"),
)
_CLOSED = re.compile("Connection reset|Socket closed|Unwrap failed|Connection aborted")
_ENDS_PLAIN = "it ended the connection; a server with TLS does so: --tls-roots FILE, or grpcs://"
_ENDS_TLS = "it ended the connection; it may want a certificate: --tls-cert and --tls-key"


def explained(error: grpc.RpcError, address: str, *, tls: bool) -> ClientError:
    """Say in one line what a failed call means.

    Args:
        error: of the call.
        address: that was called.
        tls: whether the connection is encrypted.
    """
    code, details = error.code(), " ".join((error.details() or "").split())
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return Lost(f"{address} did not answer in time; --timeout gives it more")
    if code == grpc.StatusCode.CANCELLED or _BROKEN.search(details):
        return Lost(f"cannot connect to {address}: {_reason(details, tls=tls)}")
    return Refused(code, details)


def _reason(details: str, *, tls: bool) -> str:
    for pattern, words in _REASONS:
        if re.search(pattern, details):
            return words
    if _CLOSED.search(details):
        return _ENDS_TLS if tls else _ENDS_PLAIN
    return details.rpartition("last error: ")[2] or "the call was cancelled"
