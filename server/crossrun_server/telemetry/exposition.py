"""The metrics of a registry as a client asks for them: Prometheus's text, or OpenMetrics.

In the text format Triton's counters are counters by their own names. OpenMetrics wants `_total`
behind a counter's name, and this library adds it in both formats; so they come as `unknown`, which
is what they are in OpenMetrics: their names are the same, whatever Prometheus asks for.
"""

import gzip
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from crossrun_server.telemetry.metrics_http import App

TRITONS = re.compile(rb"^# TYPE (nv_\w+) untyped$", re.MULTILINE)


def exposition(registry: CollectorRegistry) -> App:
    """Return an application that answers with the metrics; `name[]` in the query chooses some."""

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        encode, kind = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]")
        body = encode(registry.restricted_registry(names) if names else registry)
        if kind.startswith("text/plain"):
            body = TRITONS.sub(rb"# TYPE \1 counter", body)
        headers = [("Content-Type", kind)]
        if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            body = gzip.compress(body)
            headers.append(("Content-Encoding", "gzip"))
        start("200 OK", headers)
        return [body]

    return app
