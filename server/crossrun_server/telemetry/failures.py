"""Counts the calls that did not end well, and logs them: a line each, but not in a flood.

Of each reason there are at most LINES lines in PERIOD seconds; how many were left out is told at
the end of that time. A caller who leaves is no failure of a call. Knows neither messages nor gRPC.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from time import monotonic
from typing import NamedTuple

from crossrun_server.scheduling.alarms import ALARMS
from crossrun_server.telemetry import trace_context

log = logging.getLogger(__name__)

# Why a front end ends calls by itself. All other reasons are names of errors.
LIMIT, LATE, TRANSPORT = "Limit", "DeadlineExceeded", "Transport"
LINES = 10
PERIOD = 10.0  # seconds
LONGEST_ID = 200  # characters of a caller's id in the log


class Failure(NamedTuple):
    """How calls end: the path of their method, gRPC's name of the code, and why."""

    method: str
    code: str
    reason: str


class CallInfo(NamedTuple):
    """What is known of a call that fails."""

    peer: str  # as gRPC writes addresses, such as ipv4:127.0.0.1:50000
    traceparent: str = ""
    request_id: str = ""


@dataclass
class _Period:
    """The lines of one reason."""

    lines: int = 0
    left_out: int = 0


class Failures:
    """The failures of one process. Safe for all threads."""

    def __init__(self) -> None:
        self._counts: Counter[Failure] = Counter()
        self._periods: dict[str, _Period] = {}
        self._lock = Lock()

    def note(
        self,
        failure: Failure,
        details: str,
        info: Callable[[], CallInfo],
        *,
        error: Exception | None = None,
        count: int = 1,
    ) -> None:
        """Count a failure, and log it if there is room for a line.

        Args:
            failure: how the call has ended.
            details: what the caller is told.
            info: returns what is known of the call; it is asked only for a line.
            error: what nobody expected; the line has its traceback.
            count: of calls that ended so; a line is about the last of them.
        """
        with self._lock:
            self._counts[failure] += count
            written = self._has_room(failure.reason, count)
        if written:
            fields = {"fields": _fields(failure, info())}
            if error is None:
                log.warning("refused: %s", details, extra=fields)
            else:
                log.error("%s failed", failure.method, exc_info=error, extra=fields)

    def read(self) -> dict[Failure, int]:
        """Return the counts."""
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        """Tell what was left out and is not told yet."""
        for reason in list(self._periods):
            self._tell(reason)

    def _has_room(self, reason: str, count: int) -> bool:
        period = self._periods.get(reason)
        if period is None:
            period = self._periods[reason] = _Period()
            ALARMS.at(monotonic() + PERIOD, partial(self._tell, reason))
        written = period.lines < LINES
        period.lines += written
        period.left_out += count - written
        return written

    def _tell(self, reason: str) -> None:
        """End a period."""
        with self._lock:
            period = self._periods.pop(reason, None)
        if period is not None and period.left_out:
            fields = {"reason": reason, "left_out": period.left_out}
            text = "%d more calls ended for this reason within %g s"
            log.warning(text, period.left_out, PERIOD, extra={"fields": fields})


def _fields(failure: Failure, info: CallInfo) -> Mapping[str, str]:
    parent = trace_context.parse(info.traceparent)
    return failure._asdict() | {
        "request_id": info.request_id[:LONGEST_ID],
        "trace_id": parent.trace_id if parent else "",
        "peer": info.peer,
    }
