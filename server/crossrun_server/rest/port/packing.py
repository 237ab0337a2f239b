"""Packs answers for clients that ask for it: gzip, or deflate, which Triton's clients know, too."""

import zlib

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware, GZipResponder
from starlette.types import Receive, Scope, Send

SHORT = 1000  # bytes that are not worth it
LEVEL = 1  # the fastest: numbers hardly become shorter by others
AT_ONCE = 16 << 10  # bytes; more are packed on a thread


class _Deflate(GZipResponder):
    """Packs one answer as zlib does, which is what HTTP means by deflate."""

    content_encoding = "deflate"

    def __init__(self, *of_gzip: object, **how: object) -> None:
        super().__init__(*of_gzip, **how)  # type: ignore[arg-type]
        self._compressor = zlib.compressobj(LEVEL)


class Packing(GZipMiddleware):
    """Starlette's, with deflate."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        accepted = Headers(scope=scope).get("accept-encoding", "")
        if "deflate" in accepted and "gzip" not in accepted:
            deflate = _Deflate(self.app, SHORT, LEVEL, thread_minimum_size=AT_ONCE)
            await deflate(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
