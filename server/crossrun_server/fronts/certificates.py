"""The certificates of a port: read from files, and again while these change.

Files that do not fit together, as when some are written and others are not yet, are told of in the
log; what was read before stays.
"""

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from crossrun_server.errors import ServingError

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two looks at the files


@dataclass(frozen=True)
class Files:
    """Where the certificates are, in PEM."""

    certificate: Path  # with those that issued it, if clients do not know them
    key: Path
    roots: Path | None  # the authorities of clients' certificates; None: clients need none


@dataclass(frozen=True)
class TlsOptions:
    """What was asked for; the command line has Triton's names, which begin with `grpc_`."""

    use_ssl: bool = False
    use_ssl_mutual: bool = False  # implies the other
    server_cert: Path | None = None
    server_key: Path | None = None
    root_cert: Path | None = None

    def files(self) -> Files | None:
        """Return the files to read; None for connections in plain text.

        Raises:
            ServingError: an option is missing, or has no effect without another.
        """
        given = {
            "--grpc-server-cert": self.server_cert,
            "--grpc-server-key": self.server_key,
            "--grpc-root-cert": self.root_cert,
        }
        asking = "--grpc-use-ssl-mutual" if self.use_ssl_mutual else "--grpc-use-ssl"
        needed = list(given)[: 3 if self.use_ssl_mutual else 2 if self.use_ssl else 0]
        if missing := [name for name in needed if given[name] is None]:
            raise ServingError(f"{asking} needs {' and '.join(missing)}")
        if idle := [name for name, path in given.items() if path and name not in needed]:
            switch = "--grpc-use-ssl-mutual" if self.use_ssl else "--grpc-use-ssl"
            raise ServingError(f"{' and '.join(idle)} would have no effect without {switch}")
        if self.server_cert and self.server_key and needed:
            return Files(self.server_cert, self.server_key, self.root_cert)
        return None


@dataclass(frozen=True)
class Pem:
    """What is in the files."""

    certificate: bytes
    key: bytes
    roots: bytes | None


@dataclass(frozen=True)
class Shown:
    """What is shown to new clients, as each of the servers here takes it."""

    pem: Pem
    context: ssl.SSLContext  # Python's own
    form: Any  # the front end's


# Makes what a front end takes; raises ValueError if it cannot use the certificates.
Form = Callable[[Pem], Any]


class Certificates:
    """What the files hold, or held when they last fitted together.

    Args:
        files: are looked at when somebody asks, but not more often than each second.
        form: makes what the front end takes.
        shown: what they hold now.
    """

    def __init__(self, files: Files, form: Form, shown: Shown) -> None:
        self.files = files
        self._form = form
        self._shown = shown
        self._looked = time.monotonic()
        self._failure = ""  # which has been logged
        self._looking = Lock()

    def current(self) -> Shown:
        """Return what is shown to a client that comes now; may be called on any thread."""
        with self._looking:
            if time.monotonic() - self._looked >= INTERVAL:
                self._look()
                self._looked = time.monotonic()
            return self._shown

    def _look(self) -> None:
        try:
            if _read(self.files) != self._shown.pem:
                self._shown = _shown(self.files, self._form)
                log.info("certificates renewed from %s", self.files.certificate)
            self._failure = ""
        except ServingError as error:
            if self._failure != str(error):
                self._failure = str(error)
                log.error("certificates not renewed, the ones before stay: %s", error)


def load(files: Files, form: Form) -> Certificates:
    """Read certificates, for the first time.

    Raises:
        ServingError: they cannot be used.
    """
    return Certificates(files, form, _shown(files, form))


def _shown(files: Files, form: Form) -> Shown:
    pem, context = _read(files), _context(files)
    if _read(files) != pem:
        raise ServingError(f"{files.certificate} or a file with it has changed while it was read")
    try:
        return Shown(pem, context, form(pem))
    except ValueError as error:
        raise ServingError(f"cannot use {files.certificate} and {files.key}: {error}") from error


def _read(files: Files) -> Pem:
    try:
        return Pem(
            files.certificate.read_bytes(),
            files.key.read_bytes(),
            files.roots.read_bytes() if files.roots else None,
        )
    except OSError as error:
        raise ServingError(f"cannot read {error.filename}: {error.strerror}") from error


def _context(files: Files) -> ssl.SSLContext:
    """Make the context of Python's servers, which also finds out what does not fit together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 at least
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        raise ServingError(_unusable(files, error)) from error
    if files.roots:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(files.roots)
        except ssl.SSLError as error:
            text = f"expected certificates in PEM in {files.roots}: {error}"
            raise ServingError(text) from error
    return context


def _unusable(files: Files, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{files.key} is not the key of the certificate in {files.certificate}"
    return (
        f"expected a certificate in PEM in {files.certificate}, "
        f"and its key without a password in {files.key}: {error}"
    )
