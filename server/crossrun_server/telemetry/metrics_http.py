"""HTTP at the metrics port: metrics at one path, and errors at all others.

prometheus_client answers every path with the metrics, so a client that asked this port for the
server's health would believe it ready.
"""

from collections.abc import Callable, Iterable
from typing import Any

PATH = "/metrics"
METHODS = ("GET", "HEAD")

# A WSGI application: environment, start_response → body.
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def at_one_path(metrics: App) -> App:
    """Wrap `metrics` so that it only answers GET and HEAD of /metrics; all else is 404 or 405."""

    def answered(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path != PATH:
            return _refused(start, "404 Not Found", f"{path} is nothing here; {PATH} has metrics")
        if method not in METHODS:
            allow = ("Allow", ", ".join(METHODS))
            return _refused(start, "405 Method Not Allowed", f"{PATH} takes {allow[1]}", allow)
        return metrics(environ | {"REQUEST_METHOD": "GET"}, start)

    return _bodiless_for_head(answered)


def _refused(start: Any, status: str, text: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{text}\n".encode()]


def _bodiless_for_head(app: App) -> App:
    """Wrap an application so that HEAD gets the length of the body, but no body."""

    def answered(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, start)
        given: list[Any] = []
        size = sum(map(len, app(environ, lambda *answer: given.extend(answer))))
        status, headers = given[:2]
        start(status, [*headers, ("Content-Length", str(size))])
        return []

    return answered
