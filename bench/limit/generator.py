"""Measures how much one process of the load generator can ask, on one core.

    .venv/bin/python bench/limit/generator.py models/ --model mobilenet

The server, on another core, answers at once. For each load, it prints how much was answered, what a
request took of the generator's core, and how late requests were sent.
"""

import argparse
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from crossrun.oip import grpc_service_pb2 as oip
from crossrun_bench.measurements.load.plan import Load, Time
from crossrun_bench.measurements.load.result import LoadTurn
from crossrun_bench.measurements.load.turns import Running, taken
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models.model import Model
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.processes.piped import piped
from instant import serve

CLIENTS = (1, 16, 64)
RATES = (100.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0)
ROUNDS, TIME = 3, Time(0.5, 2.0)


def main() -> None:
    """Measure all loads in interleaved rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("--model", required=True)
    arguments = parser.parse_args()
    for load, turns in _measured(read_model(arguments.models, arguments.model)).items():
        _say(load, turns)


def _measured(model: Model) -> dict[Load, list[LoadTurn]]:
    loads = [Load(n) for n in CLIENTS] + [Load(rate=r, arrivals="poisson") for r in RATES]
    turns: dict[Load, list[LoadTurn]] = {load: [] for load in loads}
    ours, servers = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        request, message = _request(model, Path(folder))
        server = stack.enter_context(_instant(servers, message))
        os.sched_setaffinity(0, {ours})
        generator = stack.enter_context(piped("measurements.load.generator.process", "generator"))
        generator.say(**asdict(request))
        for number in range(ROUNDS):
            for load in loads:
                turns[load].append(taken([generator], server, load, TIME, number))
    return turns


@contextmanager
def _instant(core: int, message: bytes) -> Iterator[Running]:
    """Run a server in a process that is pinned to a core."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fork = multiprocessing.get_context("fork")
        process = fork.Process(target=_pinned, args=(core, listening, message), daemon=True)
        process.start()
        try:
            yield Running("instant", f"127.0.0.1:{listening.getsockname()[1]}", process.pid)
        finally:
            process.kill()


def _pinned(core: int, listening: socket.socket, message: bytes) -> None:
    os.sched_setaffinity(0, {core})
    serve(listening, message)


def _request(model: Model, folder: Path) -> tuple[Request, bytes]:
    """The request, and a message that counts as its answer."""
    scores = np.full((1, model.classes), 1 / model.classes, np.float32)
    np.save(folder / "expected.npy", scores)
    pixels = drawn(folder, 1, model.height, model.width).pixels
    output = oip.ModelInferResponse.InferOutputTensor(name=model.output_name, datatype="FP32")
    message = oip.ModelInferResponse(outputs=[output], raw_output_contents=[scores.tobytes()])
    request = Request(model, pixels, str(folder / "expected.npy"))
    return request, message.SerializeToString()


def _say(load: Load, turns: list[LoadTurn]) -> None:
    wall = sum(turn.wall_ns for turn in turns)
    us = [us for turn in turns for us in turn.us]
    answered = sum(sum(turn.ended or turn.windows) for turn in turns)
    late = [us for turn in turns for us in turn.late_us] or [0]
    cores = sum(turn.generator_cpu_ns for turn in turns) / wall
    served = sum(turn.server_cpu_ns or 0 for turn in turns) / sum(turn.served for turn in turns)
    figures = (
        f"{load!s:>15}: {1e9 * answered / wall:5.0f} answered a second",
        f"{cores:.2f} of a core, {1e-3 * cores * wall / answered:.0f} µs a request",
        f"the server's {served / 1e3:.0f} µs",
        "p50 {:.2f}, p99 {:.2f} ms".format(*np.percentile(us, (50, 99)) / 1e3),
        "late p50 {:.2f}, p99 {:.2f} ms".format(*np.percentile(late, (50, 99)) / 1e3),
        f"failed {sum(sum(turn.errors.values()) for turn in turns)}",
    )
    sys.stdout.write("; ".join(figures) + "\n")


if __name__ == "__main__":
    main()
