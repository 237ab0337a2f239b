"""Keeps a failure that repeats from filling the log: its traceback is written once a minute.

The first is written in full. At the end of its minute a line says how many were left out.
"""

import logging
from functools import partial
from threading import Lock
from time import monotonic
from types import TracebackType

from crossrun_server.scheduling.alarms import ALARMS

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds

# Where a line is written, the type of the error, and where it was raised.
Key = tuple[str, int, type[BaseException] | None, str, int]


class Repeats(logging.Filter):
    """Lets through the first of equal tracebacks in each minute, and every line without one.

    The line of a call that failed stays, without its traceback: `Failures` sees to floods of them.

    Args:
        every: seconds.
    """

    def __init__(self, every: float = EVERY) -> None:
        super().__init__()
        self._every = every
        self._left_out: dict[Key, int] = {}  # by failures whose minute is not over
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if not record.exc_info or record.exc_info[0] is None:
            return True
        key = record.pathname, record.lineno, record.exc_info[0], *_raised(record.exc_info[2])
        with self._lock:
            if key in self._left_out:
                self._left_out[key] += 1
                return _without_traceback(record)
            self._left_out[key] = 0
        # Without the record, which holds on to what the failure was about.
        ALARMS.at(monotonic() + self._every, partial(self._end, key, record.getMessage()))
        return True

    def _end(self, key: Key, first: str) -> None:
        with self._lock:
            count = self._left_out.pop(key)
        if count:
            log.error("%d more tracebacks like that of '%s' were left out", count, first)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Take the traceback out of a record; returns whether the line tells of a call all the same."""
    record.exc_info = record.exc_text = None
    return hasattr(record, "fields")


def _raised(traceback: TracebackType | None) -> tuple[str, int]:
    """Return the file and the line in which an error was raised."""
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    return (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno) if traceback else ("", 0)
