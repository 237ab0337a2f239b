"""Control calls reach all workers of a port, whichever worker a client happens to call.

The worker that is called forwards the call instead of following it. It follows the calls that the
supervisor then makes to every worker.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from crossrun_server.errors import ServingError
from crossrun_server.services.edge import Context, Ended, explain
from crossrun_server.services.protocol import ProtocolService
from crossrun_server.workers.changes import LOAD, LOG, REGISTER, TRACE, UNLOAD, UNREGISTER, Change

log = logging.getLogger(__name__)

SHARED = {
    f"/inference.GRPCInferenceService/{method}": method
    for method in (LOAD, UNLOAD, REGISTER, UNREGISTER, TRACE, LOG)
}

Operation = Callable[[Any], Awaitable[Any]]  # request to response


@dataclass(frozen=True)
class Outcome:
    """The result of a call: its response, or a status and its details."""

    response: Any = None
    code: grpc.StatusCode | None = None
    details: str = ""
    lost: bool = False  # the worker ended meanwhile


Forward = Callable[[str, Change], Awaitable[Outcome]]


def operations(protocol: ProtocolService) -> dict[str, Operation]:
    """Return what carries out each control call in this process, by the method's name."""
    return {
        LOAD: protocol.load,
        UNLOAD: protocol.unload,
        REGISTER: protocol.register,
        UNREGISTER: protocol.unregister,
        TRACE: protocol.trace_setting,
        LOG: protocol.log_settings,
    }


async def follow(own: Mapping[str, Operation], method: str, request: Change) -> Outcome:
    """Carry out a call in this process.

    Args:
        own: see `operations`.
        method: the method's name.
        request: its message.
    """
    try:
        return Outcome(await own[method](request))
    except Exception as error:
        if not isinstance(error, ServingError):
            log.error("%s failed", method, exc_info=error)
        return Outcome(None, *explain(error, method))


class Sharing(grpc.aio.ServerInterceptor):
    """Forwards control calls; a call that only reads settings is answered here."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Replace the handlers of control calls."""
        handler = await continuation(handler_call_details)
        method = SHARED.get(handler_call_details.method)
        if handler is None or method is None:
            return handler

        async def call(request: Change, context: Context) -> Any:
            if method in (TRACE, LOG) and not request.settings:  # type: ignore[union-attr]
                return await handler.unary_unary(request, context)
            outcome = await self._forward(method, request)
            if outcome.code is not None:
                raise Ended(outcome.code, outcome.details)
            return outcome.response

        return grpc.unary_unary_rpc_method_handler(
            call, handler.request_deserializer, handler.response_serializer
        )
