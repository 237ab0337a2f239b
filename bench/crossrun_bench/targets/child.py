"""The measured process: one runner, driven by JSON lines on stdin, answering on stdout.

    python -m crossrun_bench.targets.child < {a Task}, then commands
    {"do": "turn", "batch": 8, "seconds": 0.2}  → {"started_ns": …, "warmup": 1, "ns": […]}
    {"do": "predict", "pictures": {…}, "batch": 8, "output": "….npy"}
                                                  → {"done": 8} for each batch, then {}

The first line out is {"ready_ns": …, "first_ns": …}, once a first picture is answered. The process
ends with stdin. An error is one line {"error": …}. Knows nothing of rounds or of other targets.
"""

import sys
import time
from typing import Any

import numpy as np

from crossrun_bench.codec import decode
from crossrun_bench.pictures.pictures import Batch, Pictures
from crossrun_bench.processes.driven import Reply, commands, driven
from crossrun_bench.targets.targets import runner_for
from crossrun_bench.targets.task import Runner, Task

# Requests that end within this part of a turn are warm-ups: until then, caches and threads still
# belong to the target before.
SETTLING = 0.1


def main() -> int:
    """Serve commands until stdin ends."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    task = decode(Task, first_line)
    runner = runner_for(task)
    first = _timed(runner, task.pictures.batch(0, 1))
    reply({"ready_ns": time.monotonic_ns(), "first_ns": first})
    for command in commands():
        if command["do"] == "turn":
            reply(_turn(runner, task.pictures.batch(0, command["batch"]), command["seconds"]))
        else:
            _predict(runner, command, reply)


def _timed(runner: Runner, batch: Batch) -> int:
    begin = time.perf_counter_ns()
    runner.run(batch)
    return time.perf_counter_ns() - begin


def _turn(runner: Runner, batch: Batch, seconds: float) -> dict[str, Any]:
    """Make requests one after another for `seconds`, at least one; the last may take longer."""
    started, spent, warmup = time.monotonic_ns(), 0, 0
    ns: list[int] = []
    while spent < seconds * 1e9:
        ns.append(_timed(runner, batch))
        spent += ns[-1]
        if spent < seconds * 1e9 * SETTLING:
            warmup = len(ns)
    return {"started_ns": started, "warmup": warmup, "ns": ns}


def _predict(runner: Runner, command: Any, reply: Reply) -> None:
    """Write the runner's answers to all pictures into the output, float32 [pictures, …]."""
    pictures, size = decode(Pictures, command["pictures"]), command["batch"]
    answers = []
    for start in range(0, len(pictures.files), size):
        batch = pictures.batch(start, size)
        answers.append(runner.run(batch))
        reply({"done": len(batch.pixels)})
    np.save(command["output"], np.concatenate(answers))
    reply({})


if __name__ == "__main__":
    sys.exit(main())
