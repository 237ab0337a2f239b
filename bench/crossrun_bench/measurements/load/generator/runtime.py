"""The process that runs a model by one of the runners, and asks itself.

    python -m crossrun_bench.measurements.load.generator.runtime < {a Task}, then commands
    {"do": "turn", "clients": 4, "warm": 0.5, "seconds": 3}
        → see `process`; CPU time and memory are those of runtime and callers together

Callers are threads. If a runtime cannot be called by several threads at once, calls wait for each
other, first come, first served; this time counts as the queue, as in a server. Nothing checks the
answers here: `accuracy` does.
"""

import sys
import threading
import time
from collections import deque
from contextlib import nullcontext, suppress
from typing import Any

import psutil

from crossrun_bench.codec import decode
from crossrun_bench.measurements.load.generator import loops
from crossrun_bench.measurements.load.generator.counting import Call
from crossrun_bench.processes.driven import Reply, commands, driven
from crossrun_bench.targets.targets import TARGETS, runner_for
from crossrun_bench.targets.task import Task


class InTurn:
    """A lock for whoever came first; threading's may go back to its last holder."""

    def __init__(self) -> None:
        self._queue: deque[threading.Lock] = deque()  # the holder's, then those who wait

    def __enter__(self) -> None:
        own = threading.Lock()
        own.acquire()
        self._queue.append(own)
        if self._queue[0] is not own:
            own.acquire()  # until the one before lets go

    def __exit__(self, *_: object) -> None:
        self._queue.popleft()
        with suppress(IndexError):
            self._queue[0].release()


def main() -> int:
    """Serve commands until stdin ends."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    task = decode(Task, first_line)
    call = _call(task)
    call()  # the first call compiles; a turn must not include that
    reply({})
    for command in commands():
        found = loops.turn([call] * loops.callers(command), command)
        reply(found | {"rss_bytes": psutil.Process().memory_info().rss})


def _call(task: Task) -> Call:
    """A call for one picture; it reports its timings as servers do, see `counting.timings`."""
    runner, batch = runner_for(task), task.pictures.batch(0, 1)
    turn = nullcontext() if TARGETS[task.target].concurrent else InTurn()
    clock = time.perf_counter_ns

    def call() -> tuple[object, str]:
        begin = clock()
        with turn:
            had = clock()
            answer = runner.run(batch)
            end = clock()
        return answer, f"queue;dur={(had - begin) / 1e6:.3f}, compute;dur={(end - had) / 1e6:.3f}"

    return call


if __name__ == "__main__":
    sys.exit(main())
