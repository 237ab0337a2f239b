"""The two loops in which requests are sent, and what is counted of them. Knows no protocol.

Closed: some callers, each of which asks again as soon as it is answered. Open: requests go out when
they are due, answered or not. A request of an open loop is timed from when it was due, so that all
requests that were due during a server's stall feel it, and a generator that is late flatters
nobody. Gil Tene calls what a closed loop does instead "coordinated omission":
https://www.youtube.com/watch?v=lJ8ydIuPFeU.

Callers are threads that block. Against a server that echoes, one such caller had a lower p50 than
asyncio, and many took less CPU for a request. In an open loop one of them waits for the next
request to be due: against a server that answers at once that took less CPU for a request than
gRPC's futures (195 µs against 222 at 3,200 a second) and sent sooner.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossrun_bench.measurements.load.generator import counting
from crossrun_bench.measurements.load.generator.counting import (
    NO_ANSWER,
    Call,
    Failed,
    still_alive,
)

Command = Mapping[str, Any]

MOST = 512  # requests under way at once
NOT_SENT = "NOT_SENT"


def callers(command: Command) -> int:
    """How many calls the command's loop needs."""
    return MOST + 1 if "schedule" in command else int(command["clients"])


def turn(calls: Sequence[Call], command: Command) -> dict[str, Any]:
    """An open loop if the command has a schedule, else a closed one."""
    warm, seconds = command["warm"], command["seconds"]
    if "schedule" in command:
        return opened(calls, command["schedule"], warm, seconds)
    return closed(calls, warm, seconds)


@dataclass
class _Log:
    """What one caller saw: when each request ended, its time, and its timings or status."""

    answered: list[tuple[int, int, str]] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)


def closed(calls: Sequence[Call], warm: float, seconds: float) -> dict[str, Any]:
    """Keep every call busy for `warm` seconds, then count for `seconds`.

    A request that ends within the counted time counts, whenever it began.
    """
    logs, over = [_Log() for _ in calls], threading.Event()
    threads = [
        threading.Thread(target=_caller, args=(call, log, over), daemon=True)
        for call, log in zip(calls, logs, strict=True)
    ]
    for thread in threads:
        thread.start()
    time.sleep(warm)
    begin, cpu = time.perf_counter_ns(), time.process_time_ns()
    time.sleep(seconds)
    end, cpu = time.perf_counter_ns(), time.process_time_ns() - cpu
    over.set()
    hung = still_alive(threads)
    return _counted_closed(logs, begin, end, hung) | {"cpu_ns": cpu}


def _caller(call: Call, log: _Log, over: threading.Event) -> None:
    clock, answered = time.perf_counter_ns, log.answered.append
    while not over.is_set():
        begin = clock()
        try:
            _, told = call()
        except Failed as error:
            log.failed.append((clock(), str(error)))
        else:
            end = clock()
            answered((end, end - begin, told))


def _counted_closed(logs: Sequence[_Log], begin: int, end: int, hung: int) -> dict[str, Any]:
    answered = sorted(entry for log in logs for entry in list(log.answered))
    counted = [entry for entry in answered if begin <= entry[0] < end]
    failed = [code for log in logs for at, code in list(log.failed) if begin <= at < end]
    failed += [NO_ANSWER] * hung
    return {
        "wall_ns": end - begin,
        "us": [took // 1000 for _, took, _ in counted],
        "windows": counting.windows((at for at, _, _ in counted), begin, end),
        "errors": dict(Counter(failed)),
        "served": len(answered),
        **counting.timings([told for _, _, told in counted]),
    }


@dataclass
class _Sending:
    """The schedule, and what became of each request; all times are ns of one clock."""

    due: Iterator[int]
    slots: threading.Semaphore
    turn: threading.Lock = field(default_factory=threading.Lock)  # held while waiting for the next
    answered: list[tuple[int, int, int, str]] = field(default_factory=list)  # due, sent, end, told
    failed: list[tuple[int, str]] = field(default_factory=list)  # due, status

    def next(self) -> int | None:
        """Wait until the next request is due, and return when; None after the last."""
        with self.turn:
            for due in self.due:
                time.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
                if self.slots.acquire(blocking=False):
                    return due
                self.failed.append((due, NOT_SENT))
        return None


def opened(
    calls: Sequence[Call], schedule: Sequence[int], warm: float, seconds: float
) -> dict[str, Any]:
    """Send each request of a schedule, in ns from the beginning, and count those due after `warm`.

    If all calls but one are under way, a request that is due becomes an error, NOT_SENT: the last
    call has to wait for the next one.
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
    return _counted_open(sending, *counted, hung) | {"cpu_ns": cpu}


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


def _counted_open(sending: _Sending, begin: int, end: int, hung: int) -> dict[str, Any]:
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
