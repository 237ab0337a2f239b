"""Which web pages may ask, and by which names the server may be called.

A browser lets any page send requests to a server on its user's machine, without reading the
answers. With a name of its own that leads here (DNS rebinding), a page can even read them. Both
come with a header that the page cannot forge.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from crossrun_server.fronts import sockets
from crossrun_server.rest.statuses import failed

ANY = "*"


class Origins:
    """What requests have to say of where they come from.

    Args:
        host: where the server listens.
        pages: origins of pages that may ask, such as `https://example.org`; `*` is any.
        asks: whether callers have to say who they are, which a foreign page cannot.
    """

    def __init__(self, host: str, pages: tuple[str, ...], *, asks: bool) -> None:
        self.pages = pages
        self._names = {host, *(urlsplit(page).hostname for page in pages)}
        self._any_name = asks or ANY in pages or not sockets.only_here(host)

    def refusal(self, headers: Headers) -> str:
        """Return why a request is refused; nothing if it is not."""
        hosts, origin = headers.getlist("host"), headers.get("origin")
        host = hosts[0] if hosts else ""
        if len(hosts) > 1:
            return f"the header host is there {len(hosts)} times, expected once"
        if origin is not None and not self._may_ask(origin, host):
            return f"pages of {origin!r} may not ask this server; --http-cors allows it"
        if host and not self._any_name and not self._is_ours(host):
            return (
                f"{host!r} is no name of a server that listens on this machine alone, as "
                "localhost is; --http-cors allows it"
            )
        return ""

    def _may_ask(self, origin: str, host: str) -> bool:
        if origin in self.pages or ANY in self.pages:
            return True
        return bool(host) and origin.partition("://")[2] == host

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self._names or _is_local(name)
        except ValueError:
            return False


class Guard:
    """Refuses requests before anything else of them is looked at."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        refusal = self._origins.refusal(Headers(scope=scope))
        app = failed(403, refusal) if refusal else self._app
        await app(scope, receive, send)


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
