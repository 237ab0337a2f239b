"""Calls between a supervisor and its workers: Python objects over gRPC on Unix sockets.

Objects may be pickled, because only this user may enter the folder of the sockets.
"""

import asyncio
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from crossrun_server.errors import ServingError

SERVICE = "crossrun.Link"
LINK_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))

Function = Callable[..., Awaitable[Any]]


class Lost(Exception):  # noqa: N818 - named after what happened
    """The other process has ended, or has not answered in time."""


@asynccontextmanager
async def answering(socket: Path, functions: Mapping[str, Function]) -> AsyncIterator[None]:
    """Let other processes call functions, by name, until the block ends.

    Raises:
        ServingError: the socket cannot be made: a path of over a hundred bytes is too long.
    """
    server = grpc.aio.server(options=LINK_OPTIONS)
    methods = {name: _handler(function) for name, function in functions.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError as error:
        text = f"workers cannot talk over {socket}; TMPDIR chooses another folder"
        raise ServingError(text) from error
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def _handler(function: Function) -> "grpc.RpcMethodHandler[Any, Any]":
    async def answer(arguments: tuple[Any, ...], _: object) -> Any:
        return await function(*arguments)

    return grpc.unary_unary_rpc_method_handler(answer, pickle.loads, pickle.dumps)


class Peer:
    """Another process, called through its socket."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", LINK_OPTIONS)

    async def call(self, name: str, *arguments: Any, timeout: float | None = None) -> Any:
        """Call a function there and return its result.

        Args:
            name: of the function.
            arguments: of the function.
            timeout: seconds; None waits without end.

        Raises:
            Lost: there will be no answer.
        """
        method = self._channel.unary_unary(f"/{SERVICE}/{name}", pickle.dumps, pickle.loads)
        try:
            return await method(arguments, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise Lost(error.details()) from error
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller and caller.cancelling():
                raise
            raise Lost("the connection was closed") from None  # by `close`

    async def close(self) -> None:
        """Close the connection; a caller that waits for an answer gets Lost."""
        await self._channel.close()
