"""Tells whether a model fails, or only what its callers send.

After some failed runs in a row the model is asked a request that it has answered before it served.
If that fails as well, the model takes no requests until it succeeds again. Knows runs as plain
functions, and requests only by how their runs ended.
"""

from collections.abc import Callable
from threading import Event, Lock, Thread

from crossrun_server.errors import ServingError
from crossrun_server.runtime import ort_errors
from crossrun_server.scheduling.batching import Execution

IN_A_ROW = 3  # failed runs
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between two probes; each pause is twice the last


class Failing:
    """Watches the runs of one model.

    Args:
        probe: runs what the model has answered before it served; None if nothing is known that it
            answers, and then it never counts as failing.
    """

    def __init__(self, probe: Callable[[], object] | None) -> None:
        self.reason = ""  # why it takes no requests; empty if it takes them
        self._probe = probe
        self._in_a_row = 0
        self._tell: Callable[[], object] | None = None
        self._probing = Lock()
        self._closed = Event()

    def tell(self, changed: Callable[[], object]) -> None:
        """Note what is called, on any thread, at each change of the reason."""
        self._tell = changed

    def executed(self, execution: Execution) -> None:
        """Hear of a run, on its thread. Mistakes of callers that have a name do not count."""
        if execution.error is None:
            self._in_a_row = 0
        elif not isinstance(execution.error, ServingError):
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                self._find_out()

    def close(self) -> None:
        """Probe no more; nobody is told any more."""
        self._closed.set()
        self._tell = None  # it may refer to the model, which refers to this

    def _find_out(self) -> None:
        """Probe on a thread of its own, unless that is under way."""
        if self._probe and self._probing.acquire(blocking=False):
            Thread(target=self._until_it_answers, name="probe", daemon=True).start()

    def _until_it_answers(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set() and (failure := self._failure()):
            self._change(self.reason or f"its runs fail: {failure}")
            self._closed.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._in_a_row = 0
        self._change("")
        self._closed.wait(FIRST_PAUSE)  # callers whose requests fail cause no more probes than that
        self._probing.release()

    def _failure(self) -> str:
        """Probe once; returns what went wrong, empty if nothing did."""
        assert self._probe
        try:
            self._probe()
        except Exception as error:  # noqa: BLE001 - whatever the model raises
            return ort_errors.plain(str(error)) or type(error).__name__
        return ""

    def _change(self, reason: str) -> None:
        if reason != self.reason:
            self.reason = reason
            if (tell := self._tell) is not None:
                tell()
