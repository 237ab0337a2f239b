"""The callers that a file names, as the file is now: it is read again when it changes.

A file that is damaged then changes nothing, and the log says so.
"""

import hashlib
import hmac
import logging
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from time import monotonic

from crossrun_server.access import token_file
from crossrun_server.access.callers import Caller, Sender
from crossrun_server.access.token_file import Known
from crossrun_server.errors import ServingError, Unauthenticated

log = logging.getLogger(__name__)

HEADER, SCHEME = "authorization", "bearer"
# What a certificate is known by, as gRPC names it: its subject's common name, and its other names.
NAMES = ("x509_common_name", "x509_subject_alternative_name")
LOOK = 1.0  # seconds between two looks at whether the file has changed
MOST_VERIFIED = 1000  # headers that are kept once they were verified

Stamp = tuple[int, int, int]  # modification time in ns, size in bytes, inode


class Tokens:
    """The callers of a file; asked on any thread.

    Args:
        path: of the file.

    Raises:
        ServingError: see `token_file.read`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._known = token_file.read(path)
        self._next = monotonic() + LOOK
        self._looking = Lock()

    def caller(self, sender: Sender) -> Caller | None:
        """Return who calls; None if nothing says it.

        Raises:
            Unauthenticated: the call has a token that nobody knows.
        """
        known = self._now()
        header = only(sender.invocation_metadata() or (), HEADER)
        if header is None:
            return _by_certificate(known, sender) if known.certificates else None
        return known.verified.get(header) or _verified(known, header)

    def known(self, sender: Sender) -> Caller | None:
        """Return who calls if that token has been verified, in a microsecond or two; else None."""
        if monotonic() >= self._next:  # `caller` looks whether the file has changed
            return None
        found = None
        for name, value in sender.invocation_metadata() or ():
            if name == HEADER:
                if found is not None:
                    return None
                found = value
        return self._known.verified.get(found)  # type: ignore[arg-type]

    def opens(self, what: str) -> bool:
        """Whether something needs no caller."""
        return what in self._now().open

    def _now(self) -> Known:
        if monotonic() >= self._next:
            with self._looking:
                self._look()
        return self._known

    def _look(self) -> None:
        """Read the file again if it has changed, unless another thread has just looked."""
        if monotonic() < self._next:
            return
        self._next = monotonic() + LOOK
        if (stamp := _stamp(self._path)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self._known = token_file.read(self._path)
        except ServingError as error:
            log.error("%s; what it said before still holds", error)
        else:
            log.info("the tokens of %s have changed", self._path)


def only(metadata: Iterable[tuple[str, str | bytes]], name: str) -> str | None:
    """Return the value of a name in a call's metadata; None if it is not there.

    Raises:
        Unauthenticated: it is there several times, so that two readers might see two callers.
    """
    found = [value for key, value in metadata if key == name]
    if len(found) > 1:
        raise Unauthenticated(f"{name} is sent {len(found)} times, expected once")
    value = found[0] if found else None
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _verified(known: Known, header: str) -> Caller:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != SCHEME:
        raise Unauthenticated(f"{HEADER} is no 'Bearer TOKEN'")
    digest, found = hashlib.sha256(token.strip().encode()).digest(), None
    for one, caller in known.tokens.items():  # all of them, so that the time tells nothing
        if hmac.compare_digest(one, digest):
            found = caller
    if found is None:
        raise Unauthenticated("the token is not known")
    if len(known.verified) >= MOST_VERIFIED:
        known.verified.clear()
    known.verified[header] = found
    return found


def _by_certificate(known: Known, sender: Sender) -> Caller | None:
    """Find the caller by the client's certificate, which TLS has checked."""
    told = sender.auth_context()
    names = (name.decode(errors="replace") for kind in NAMES for name in told.get(kind, ()))
    return next((known.certificates[name] for name in names if name in known.certificates), None)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
