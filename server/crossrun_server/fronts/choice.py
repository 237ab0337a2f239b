"""Which front end serves. What was asked for and is not there is an error, as with providers."""

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import NamedTuple

from crossrun_server.errors import ServingError
from crossrun_server.fronts import grpc_front
from crossrun_server.fronts.certificates import Form

INTERFACE = 3  # of crossrun_front, as this server uses it
INSTALLING = "install its wheel, or ./server/front of a checkout, which needs Rust"


class FrontName(StrEnum):
    """The front ends that can be asked for."""

    AUTO = "auto"  # native if it is installed
    NATIVE = "native"
    PYTHON = "python"


class Front(NamedTuple):
    """A front end that can run here."""

    name: FrontName
    serving: Callable[..., AbstractAsyncContextManager[int]]  # see grpc_front.serving
    version: str  # of what it is made of
    secure: Form
    prepare: Callable[[], None] = lambda: None  # before threads that compute are started


def chosen(asked: FrontName) -> Front:
    """Return the front end that serves.

    Raises:
        ServingError: it is not installed, or does not suit this server.
    """
    if asked == FrontName.PYTHON:
        return _python()
    if importlib.util.find_spec("crossrun_front") is not None:
        return _native()
    if asked == FrontName.NATIVE:
        raise ServingError(
            f"--front native needs crossrun-front, which is not installed: {INSTALLING}"
        )
    return _python()


def _python() -> Front:
    return Front(FrontName.PYTHON, grpc_front.serving, grpc_front.VERSION, grpc_front.secure)


def _native() -> Front:
    native = importlib.import_module("crossrun_front")
    if native.INTERFACE != INTERFACE:
        raise ServingError(
            f"crossrun-front {native.__version__} does not suit this server: its interface is "
            f"{native.INTERFACE}, expected {INTERFACE}; {INSTALLING}; or --front python"
        )
    front = importlib.import_module("crossrun_server.fronts.native_front")
    return Front(
        FrontName.NATIVE,
        front.serving,
        native.__version__,
        front.secure,
        native.yield_to_network,
    )
