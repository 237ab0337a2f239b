"""What an HTTP client is answered at the metrics port: metrics at one path, nothing at others.

prometheus_client answers every path with the metrics, and whoever asks there for the health of a
server would believe it ready.
"""

from collections.abc import Callable, Iterable
from typing import Any

PATH = "/metrics"
METHODS = ("GET", "HEAD")

# A WSGI application: environment, start_response → body.
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def at_one_path(metrics: App) -> App:
    """Give an application that is `metrics` for GET and HEAD of /metrics, and 404 or 405 else."""

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
    """Leave out the body where HEAD asks, after counting it."""

    def answered(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, start)
        given: list[Any] = []
        size = sum(map(len, app(environ, lambda *answer: given.extend(answer))))
        status, headers = given[:2]
        start(status, [*headers, ("Content-Length", str(size))])
        return []

    return answered
