"""Tracebacks that repeat: the first is written, the others are counted."""

import logging
import threading
from pathlib import Path

import pytest

from crossrun_server.telemetry import logs, repeats
from crossrun_server.telemetry.repeats import Repeats

log = logging.getLogger("crossrun_server.tests")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> "Written":
    """What a logger with a minute of its own writes."""
    handler = Written()
    handler.addFilter(Repeats(every=0.2))
    for logger in (log, repeats.log):
        monkeypatch.setattr(logger, "handlers", [handler])
        monkeypatch.setattr(logger, "propagate", False)
    return handler


class Written(logging.Handler):
    """Keeps the lines that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tracebacks = 0
        self.left_out = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.tracebacks += bool(record.exc_info)
        if "left out" in self.lines[-1]:
            self.left_out.set()


def fail(name: str, error: type[Exception] = ValueError, **extra: object) -> None:
    try:
        raise error(name)
    except error:
        log.exception("%s failed", name, extra=extra)


def test_a_repeated_traceback_is_counted(written: Written) -> None:
    """The first is in full; a line says how many followed, and then the next is in full again."""
    for number in range(5):
        fail(f"call {number}")
    assert written.lines == ["call 0 failed"]
    written.left_out.wait()
    assert written.lines[1:] == ["4 more tracebacks like that of 'call 0 failed' were left out"]
    fail("call 5")
    assert written.lines[2:] == ["call 5 failed"]


def test_a_call_that_fails_keeps_its_line(written: Written) -> None:
    """Which has its id and its caller; its traceback is that of the first, and is left out."""
    for number in range(3):
        fail(f"call {number}", fields={"request_id": str(number)})
    assert written.lines == ["call 0 failed", "call 1 failed", "call 2 failed"]
    assert written.tracebacks == 1


def test_other_failures_and_plain_lines_are_written(written: Written) -> None:
    """An error of another type, or from another place, is another; lines are never left out."""
    fail("one")
    fail("two", KeyError)
    try:
        int("three")
    except ValueError:
        log.exception("three failed")
    for _ in range(3):
        log.error("a line")
    assert written.lines == ["one failed", "two failed", "three failed", *["a line"] * 3]


def test_a_change_of_the_settings_keeps_the_count(tmp_path: Path) -> None:
    """A client that changes what is logged does not bring the tracebacks back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        process_log = logs.start(logs.LogSettings(file=str(tmp_path / "log")))
        fail("first")
        process_log.change({"log_verbose_level": 1})
        fail("second")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
    assert (tmp_path / "log").read_text().count("Traceback") == 1
