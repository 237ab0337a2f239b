"""The process that runs a model in process on one execution provider, in batches of any size.

python -m crossrun_bench.measurements.throughput.process < {an OnProvider}, then commands
{"do": "answer", "batch": 8, "output": "….npy"}  → {}, of other "pixels" where they are named
{"do": "turn", "batch": 8, "seconds": 2}         → {"ns": […]}, how long each run took
"""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime

from crossrun_bench.codec import decode
from crossrun_bench.measurements.tasks import CUDA, TENSORRT, OnProvider
from crossrun_bench.models.model import as_input
from crossrun_bench.processes.driven import Reply, commands, driven
from crossrun_bench.providers import CPU
from crossrun_bench.targets.sessions import session

DEVICE = "cuda"  # of all providers that have buffers of their own and run bound
GRAPHS = {CUDA: "enable_cuda_graph", TENSORRT: "trt_cuda_graph_enable"}
SETTLING = 2  # runs before any counts, for each shape
LEAST = 3  # runs of each caller that count


def main() -> int:
    """Serve commands until stdin ends."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    task = decode(OnProvider, first_line)
    loaded, pixels = _session(task), np.load(task.pixels)
    for command in commands():
        some = np.load(command["pixels"]) if "pixels" in command else pixels
        batch = np.resize(some, (command["batch"], *some.shape[1:]))
        call = calling(loaded, task, as_input(task.model, batch))
        if command["do"] == "answer":
            np.save(command["output"], call())
            reply({})
        else:
            reply({"ns": timed(call, task.callers, command["seconds"])})


def calling(loaded: Any, task: OnProvider, tensor: Any, device: str = DEVICE) -> Callable[[], Any]:
    """Runs one batch and returns its answer, float32 [batch, classes], on the host."""
    name, output = task.model.input_name, task.model.output_name
    if task.way == "plain":
        return lambda: loaded.run([output], {name: tensor})[0]
    make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
    buffer, bound = make(tensor.shape, tensor.dtype.type, device), loaded.io_binding()
    bound.bind_ortvalue_input(name, buffer)
    bound.bind_output(output, device)
    buffer.update_inplace(tensor)
    loaded.run_with_iobinding(bound, _options(-1))  # tells the output's shape
    bound.bind_ortvalue_output(output, bound.get_outputs()[0])
    graph = _options(len(tensor) if task.way == "graph" else -1)

    def call() -> Any:
        buffer.update_inplace(tensor)
        loaded.run_with_iobinding(bound, graph)
        return bound.copy_outputs_to_cpu()[0]

    return call


def timed(call: Callable[[], Any], callers: int, seconds: float) -> list[int]:
    """Nanoseconds of each run, by callers that are all at it for so many seconds, or LEAST runs."""
    for _ in range(SETTLING):
        call()
    ns: list[int] = []
    end = time.perf_counter() + seconds
    work = [threading.Thread(target=_caller, args=(call, end, ns)) for _ in range(callers - 1)]
    for thread in work:
        thread.start()
    _caller(call, end, ns)
    for thread in work:
        thread.join()
    return ns


def _caller(call: Callable[[], Any], end: float, ns: list[int]) -> None:
    clock, runs = time.perf_counter_ns, 0
    while runs < LEAST or time.perf_counter() < end:
        begin = clock()
        call()
        ns.append(clock() - begin)
        runs += 1


def _session(task: OnProvider) -> Any:
    on = task.provider
    if task.way == "graph":
        on = replace(on, options={**on.options, GRAPHS[on.name]: "1"})
    return session(task.model.onnx, on, task.threads if on.name == CPU.name else 0)


def _options(graph: int) -> Any:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


if __name__ == "__main__":
    sys.exit(main())
