"""The process that MLPerf LoadGen runs in, with what it drives: a runner, called by threads.

    python -m crossrun_bench.measurements.loadgen.process < {a Task}, then commands
    {"do": "rate", "queries": 1, "pictures": 8}       → {"per_second": …}
    {"do": "run", "scenario": "Server", "mode": "PerformanceOnly", "settings": {…}, "folder": …}
        → {}, with LoadGen's logs in the folder

The first line out is {}, once the runner is loaded. Knows no rules: it is told the settings.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench import distribution
from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.loadgen.rules import LIBRARY
from crossrun_bench.models import heads
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.processes.driven import Reply, commands, driven
from crossrun_bench.targets.targets import TARGETS, runner_for
from crossrun_bench.targets.task import Task

# Calls at the same time, and pictures in each. In process one caller is enough, for the session
# has threads of its own; a server takes any number of calls, of its largest batch we know nothing.
_IN_PROCESS, _SERVED = (1, 8), (16, 1)
_REHEARSAL_S = 0.5


def main() -> int:
    """Serve commands until stdin ends."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    loadgen = _package()
    system = System(decode(Task, first_line), loadgen)
    sut = loadgen.ConstructSUT(system.issue, lambda: None)
    qsl = loadgen.ConstructQSL(
        system.count, min(system.count, LIBRARY), system.load, lambda _: None
    )
    reply({})
    for command in commands():
        if command["do"] == "rate":
            reply({"per_second": system.rate(command["queries"], command["pictures"])})
        else:
            _run(loadgen, sut, qsl, command)
            system.check(Path(command["folder"]))
            reply({})


def _package() -> Any:
    try:
        import mlperf_loadgen  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError as error:
        raise BenchError(distribution.missing("mlperf_loadgen", "loadgen")) from error
    return mlperf_loadgen


def _run(loadgen: Any, sut: int, qsl: int, command: dict[str, Any]) -> None:
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, command["scenario"])
    settings.mode = getattr(loadgen.TestMode, command["mode"])
    for name, value in command["settings"].items():
        setattr(settings, name, value)
    logs = loadgen.LogSettings()
    logs.enable_trace = False  # it writes a line for each picture while that is timed
    output = loadgen.LogOutputSettings()
    output.outdir = command["folder"]
    logs.log_output = output
    # By default an audit.config of the folder we are in would change the settings.
    loadgen.StartTestWithLogSettings(sut, qsl, settings, logs, "")


class System:
    """The system under test: a runner, and its pictures as LoadGen wants them in memory."""

    def __init__(self, task: Task, loadgen: Any) -> None:
        callers, self._size = _SERVED if TARGETS[task.target].served else _IN_PROCESS
        self._runner, self._model = runner_for(task), task.model
        self._stored = np.load(task.pictures.pixels, mmap_mode="r")
        self._loaded: dict[int, NDArray[np.uint8]] = {}
        self._pool = ThreadPoolExecutor(callers)
        self._loadgen = loadgen
        self._failed: Exception | None = None
        self.count = len(self._stored)
        self.load(range(min(self.count, LIBRARY)))

    def load(self, indices: Sequence[int]) -> None:
        """Keep these pictures in memory, and no others."""
        self._loaded = {i: np.array(self._stored[i : i + 1]) for i in indices}

    def issue(self, samples: Sequence[Any]) -> None:
        """Answer the samples of one query on the threads, in groups, without waiting for them."""
        for start in range(0, len(samples), self._size):
            self._pool.submit(self._answer, samples[start : start + self._size])

    def check(self, folder: Path) -> None:
        """Raise what went wrong during a run; its logs, in which answers are missing, go."""
        if self._failed:
            shutil.rmtree(folder)
            raise self._failed

    def rate(self, queries: int, pictures: int) -> float:
        """Pictures a second, where the next `queries` start when those before are all answered.

        Warms up, too.
        """
        indices = list(self._loaded)
        query = [indices[i % len(indices)] for i in range(pictures)]
        self._wait(query, queries)
        begin, answered, spent = time.perf_counter(), 0, 0.0
        while spent < _REHEARSAL_S:
            self._wait(query, queries)
            answered += queries * pictures
            spent = time.perf_counter() - begin
        return answered / spent

    def _wait(self, query: Sequence[int], times: int) -> None:
        groups = [query[i : i + self._size] for i in range(0, len(query), self._size)]
        done, _ = wait([self._pool.submit(self._classes, group) for group in groups * times])
        for future in done:
            future.result()

    def _answer(self, samples: Sequence[Any]) -> None:
        """Tell LoadGen the first class of each, int32.

        After a failure 0 at once, so that LoadGen, which knows no failures, comes to its end.
        """
        found = np.zeros(len(samples), np.int32)
        if self._failed is None:
            try:
                found[:] = self._classes([sample.index for sample in samples])
            except Exception as error:  # noqa: BLE001 - `check` raises it
                self._failed = error
        data, size = found.ctypes.data, found.itemsize
        self._loadgen.QuerySamplesComplete(
            [
                self._loadgen.QuerySampleResponse(sample.id, data + i * size, size)
                for i, sample in enumerate(samples)
            ]
        )

    def _classes(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """The first class of each picture."""
        pictures = [self._loaded[i] for i in indices]
        pixels = np.concatenate(pictures) if len(pictures) > 1 else pictures[0]
        scores = self._runner.run(Batch(pixels, ()))
        if not np.isfinite(scores).all():
            raise BenchError("the model's scores are no numbers")
        found: NDArray[np.int64] = heads.probabilities(self._model, scores).argmax(axis=1)
        return found


if __name__ == "__main__":
    sys.exit(main())
