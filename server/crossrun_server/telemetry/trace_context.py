"""The header `traceparent`, by which a caller says to which trace a request belongs.

Source: https://www.w3.org/TR/trace-context/#traceparent-header.
"""

import re
from typing import NamedTuple

HEADER = "traceparent"
FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1


class TraceParent(NamedTuple):
    """A span of the caller's; its numbers are written in hexadecimal digits."""

    trace_id: str
    span_id: str
    sampled: bool


def parse(header: str) -> TraceParent | None:
    """Read a header; None if it is none, and then the request begins a trace of its own."""
    found = FORM.fullmatch(header)
    if not found:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if (
        version == "ff"
        or (version == "00" and more)
        or not (int(trace_id, 16) and int(span_id, 16))
    ):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & SAMPLED))
