"""The turns of `throughput` in which our server is asked: as much as keeps it busy, and counted."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun_bench.machine import machine
from crossrun_bench.machine.core_to_core import core_to_core
from crossrun_bench.measurements.tasks import OnProvider, Request
from crossrun_bench.measurements.throughput.result import ServedTurn
from crossrun_bench.processes.piped import Piped, piped
from crossrun_bench.processes.serving import Server
from crossrun_bench.targets.channels import channel
from crossrun_bench.targets.runners.grpc_ import answered

WARM_S = 0.5  # before a turn, or half of the turn where that is shorter
# Requests under way: enough for so many rows, within bounds.
ROWS, FEWEST, MOST = 64, 4, 32


def max_batch_size(server: Server, model: str) -> int:
    """The most rows of a request.

    Raises:
        BenchError: the server does not say.
    """
    with channel(server.address) as opened:
        stub = GRPCInferenceServiceStub(opened)
        config = answered(stub.ModelConfig, oip.ModelConfigRequest(name=model)).config
    found: int = config.max_batch_size
    return found


def asking(task: OnProvider, child: Piped, batch: int, folder: Path) -> Request:
    """A request of `batch` rows and a process's answer to it, both as files in `folder`."""
    pixels, expected = folder / f"{batch}.npy", folder / "expected.npy"
    few = np.load(task.pixels)
    np.save(pixels, np.resize(few, (batch, *few.shape[1:])))
    child.ask(do="answer", batch=batch, output=str(expected))
    return Request(task.model, str(pixels), str(expected))


def turn(server: Server, request: Request, seconds: float, number: int) -> ServedTurn:
    """Ask for so many seconds.

    Raises:
        BenchError: a first answer is wrong.
    """
    batch = len(np.load(request.pixels, mmap_mode="r"))
    clients = min(MOST, max(FEWEST, ROWS // batch))
    asked = {"do": "turn", "address": server.address, "clients": clients}
    warm = min(WARM_S, seconds / 2)
    with piped("measurements.load.generator.process", "generator") as generator:
        generator.say(**asdict(request))
        generator.ask(**asked, warm=0, seconds=warm)  # so that its start is not counted either
        apart = core_to_core()
        before, cpu, begin = _executed(server, request), machine.cpu_ns(server.pid), _now()
        found = generator.ask(**asked, warm=warm / 2, seconds=seconds)
        spent, cpu = _now() - begin, machine.cpu_ns(server.pid) - cpu
    after = _executed(server, request)
    return ServedTurn(
        batch=batch,
        clients=clients,
        round=number,
        wall_ns=found["wall_ns"],
        answered=len(found["us"]),
        errors=found["errors"],
        generator_cpu_ns=found["cpu_ns"],
        server_cpu_ns=cpu,
        server_ns=spent,
        executed_rows=after[0] - before[0],
        executions=after[1] - before[1],
        core_to_core_ns=apart,
    )


def _executed(server: Server, request: Request) -> tuple[int, int]:
    """Rows that the server has computed, and in how many runs."""
    with channel(server.address) as opened:
        asked: Any = oip.ModelStatisticsRequest(name=request.model.name)
        (found,) = answered(GRPCInferenceServiceStub(opened).ModelStatistics, asked).model_stats
    return found.inference_count, found.execution_count


def _now() -> int:
    return time.perf_counter_ns()
