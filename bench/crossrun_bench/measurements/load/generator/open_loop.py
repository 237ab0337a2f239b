"""Open-loop load: requests go out when they are due, answered or not. Knows no protocol.

A request's time counts from when it was due, so that a stall of the server is felt by all requests
that were due meanwhile, and a generator that is late flatters nobody. Gil Tene calls what a closed
loop does instead "coordinated omission": https://www.youtube.com/watch?v=lJ8ydIuPFeU.

Callers are threads that block, of which one waits for the next request to be due: against a server
that answers at once that took less CPU for a request than gRPC's futures (195 µs against 222 at
3,200 a second) and sent sooner.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossrun_bench.measurements.load.generator import counting
from crossrun_bench.measurements.load.generator.counting import NO_ANSWER, Call, Failed, still_alive

MOST = 512  # requests under way at once: twice what our server's queue holds
NOT_SENT = "NOT_SENT"


@dataclass
class _Sending:
    """The schedule, and what became of each request; all times are of the same clock, in ns."""

    due: Iterator[int]
    slots: threading.Semaphore
    turn: threading.Lock = field(default_factory=threading.Lock)  # of him who waits for the next
    answered: list[tuple[int, int, int, str]] = field(default_factory=list)  # due, sent, end, told
    failed: list[tuple[int, str]] = field(default_factory=list)  # due, status

    def next(self) -> int | None:
        """The request that is due now, once it is; None after the last."""
        with self.turn:
            for due in self.due:
                time.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
                if self.slots.acquire(blocking=False):
                    return due
                self.failed.append((due, NOT_SENT))
        return None


def offered(
    calls: Sequence[Call], schedule: Sequence[int], warm: float, seconds: float
) -> dict[str, Any]:
    """Send each request of a schedule, in ns from the beginning, and count those due after `warm`.

    With all calls but one under way, what is due is an error, NOT_SENT: that one has to be there
    to wait for the next.
    """
    begin = time.perf_counter_ns() + int(1e5 * len(calls))  # the threads start meanwhile
    sending = _Sending((begin + due for due in schedule), threading.Semaphore(len(calls) - 1))
    threads = [
        threading.Thread(target=_sender, args=(call, sending), daemon=True) for call in calls
    ]
    for thread in threads:
        thread.start()
    counted = begin + int(1e9 * warm), begin + int(1e9 * (warm + seconds))
    _sleep_until(counted[0])
    cpu = time.process_time_ns()
    _sleep_until(counted[1])
    cpu = time.process_time_ns() - cpu
    hung = still_alive(threads)
    return _counted(sending, *counted, hung) | {"cpu_ns": cpu}


def _sleep_until(moment: int) -> None:
    time.sleep(max(0, moment - time.perf_counter_ns()) / 1e9)


def _sender(call: Call, sending: _Sending) -> None:
    clock = time.perf_counter_ns
    while (due := sending.next()) is not None:
        sent = clock()
        try:
            _, told = call()
        except Failed as error:
            sending.failed.append((due, str(error)))
        else:
            sending.answered.append((due, sent, clock(), told))
        sending.slots.release()


def _counted(sending: _Sending, begin: int, end: int, hung: int) -> dict[str, Any]:
    answered = sorted(sending.answered)
    counted = [entry for entry in answered if begin <= entry[0] < end]
    failed = [code for due, code in list(sending.failed) if begin <= due < end]
    return {
        "wall_ns": end - begin,
        "us": [(ended - due) // 1000 for due, _, ended, _ in counted],
        "late_us": [(sent - due) // 1000 for due, sent, _, _ in counted],
        "windows": counting.windows((due for due, *_ in counted), begin, end),
        "ended": counting.windows((ended for _, _, ended, _ in answered), begin, end),
        "errors": dict(Counter(failed + [NO_ANSWER] * hung)),
        "served": len(answered),
        **counting.timings([told for *_, told in counted]),
    }
