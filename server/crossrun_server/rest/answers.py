"""The response of a call on its way: in pieces, so that who reads slowly holds one and not all."""

from contextlib import ExitStack

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 1 << 16  # bytes


class Answer(Response):
    """A response that lets go of what its call holds once it is sent, or its client is gone.

    Args:
        response: what is sent.
        held: is closed then.
    """

    def __init__(self, response: Response, held: ExitStack) -> None:
        super().__init__(status_code=response.status_code)
        self.raw_headers, self.body = response.raw_headers, response.body
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        """Send it; each piece waits until the client has taken nearly all of those before."""
        with self._held:
            start = {"type": "http.response.start", "status": self.status_code}
            await send(start | {"headers": self.raw_headers})
            body = memoryview(self.body)
            for at in range(0, max(len(body), 1), PIECE):
                piece, more = body[at : at + PIECE], at + PIECE < len(body)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
