"""Closed-loop load: some callers, each asking again as soon as it is answered. Knows no protocol.

Callers are threads that block: against an echo server they gave a lower p50 at one caller than
asyncio did, and took less CPU for a request at many.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from crossrun_bench.measurements.load.generator import counting
from crossrun_bench.measurements.load.generator.counting import NO_ANSWER, Call, Failed, still_alive


@dataclass
class _Log:
    """What one caller saw: when a request ended, how long it took, what was told or its status."""

    answered: list[tuple[int, int, str]] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)


def loaded(calls: Sequence[Call], warm: float, seconds: float) -> dict[str, Any]:
    """Keep every call busy for `warm` seconds, then count for `seconds`.

    What ends within the counted time is counted, whenever it began.
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
    return _counted(logs, begin, end, hung) | {"cpu_ns": cpu}


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


def _counted(logs: Sequence[_Log], begin: int, end: int, hung: int) -> dict[str, Any]:
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
