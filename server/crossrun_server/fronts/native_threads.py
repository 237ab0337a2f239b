"""The threads that take calls from the native front end and run models themselves.

One thread always waits for the next call, whatever the others run. So calls are refused, queued and
merged at once, and a call that meets an idle lane runs on the thread that took it.
"""

import asyncio
from collections.abc import Sequence
from threading import Lock, Thread
from time import monotonic

import crossrun_front

from crossrun_server.fronts.native_call import NativeDirectCall
from crossrun_server.fronts.native_calls import Calls
from crossrun_server.services.direct.call import Gated


class Threads:
    """As many threads as can be busy at once, and one.

    Args:
        front: hands out the calls.
        direct: what answers them, by the number of their method.
        calls: answers those that are not for threads after all.
    """

    def __init__(
        self, front: crossrun_front.Front, direct: Sequence[Gated | None], calls: Calls
    ) -> None:
        self._front = front
        self._direct = direct
        self._calls = calls
        self._threads: list[Thread] = []
        self._growing = Lock()

    def start(self) -> None:
        """Start with one thread; others follow when it is busy."""
        self._loop = asyncio.get_running_loop()
        self._grow()

    def join(self, seconds: float) -> None:
        """Wait for all of them, but no longer than so many seconds; the front has stopped."""
        end = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0, end - monotonic()))

    def _grow(self) -> None:
        most = 1 + sum(direct.places for direct in self._direct if direct)
        with self._growing:
            if len(self._threads) < most:
                self._threads.append(Thread(target=self._work, name="direct", daemon=True))
                self._threads[-1].start()

    def _work(self) -> None:
        while self._work_once():  # which leaves nothing behind that would hold on to the last call
            pass

    def _work_once(self) -> bool:
        """Wait for a call and answer it; returns False once there are no more."""
        if (taken := self._front.take()) is None:
            return False
        call, waiting = taken
        if not waiting:
            self._grow()
        self._answer(call)
        return True

    def _answer(self, call: crossrun_front.Call) -> None:
        direct = self._direct[call.method]
        message, _ = call.receive()
        assert direct is not None
        assert message is not None
        if not direct(NativeDirectCall(call, message, self._calls.leaving)):
            self._loop.call_soon_threadsafe(self._calls.answer, call, message)
