"""Measures what a server does when it is asked for more than it can: who is answered, and how soon.

    .venv/bin/python bench/trust/overload.py models/ --model mobilenet
    .venv/bin/python bench/trust/overload.py models/ --model mobilenet --front python --seconds 20

Starts crossrun-serve, finds its capacity in a closed loop, then asks at 1, 2, 5 and 10 times that
rate in an open loop: each request is sent when it is due (Poisson arrivals), over many connections,
whatever has become of the others, and has a deadline. Beside them, on a connection of its own, a
lone caller asks one request at a time. Prints a table in Markdown; `--output` writes JSON as well.

Server and generators share no core: the server gets the first half of them, so that its capacity is
that of these cores, and the generators the others. The model has to be heavy enough for ten times
its rate to be less than what the generators can send, about 3,000 requests a second for each core:
the table says how late they were, and how much of their cores they took. Goodput is what was
answered within the deadline, counted from when it was due.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun_bench.machine import machine
from crossrun_bench.measurements.load.arrivals import schedule
from crossrun_bench.processes.serving import serving
from flood import Asking, Report, Seen, closed, flood, lone

TIMES = (1, 2, 5, 10)
CALLERS = 16  # of the closed loop
AHEAD = 200_000_000  # nanoseconds from "ready" to the beginning
BYTES = {"BOOL": 1, "BF16": 2}  # of an element; of other datatypes the name ends with the bits


@dataclass(frozen=True)
class Row:
    """What was seen at one rate. Rates are requests a second; times are milliseconds."""

    times: float  # of the capacity
    asked: float
    goodput: float  # the lone caller's included
    capacity: float
    codes: dict[str, int]
    ok_p50: float
    ok_p99: float
    refused_p99: float
    with_pushback: float  # share of refusals that say when to try again
    lone: float  # answers a second to the lone caller
    share: float  # what it would have if all connections got the same
    late_p99: float  # how late requests were sent
    generators: float  # share of their cores that they took


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--front", default="auto")
    parser.add_argument("--deadline-ms", type=int, default=500)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = _measured(arguments)
    sys.stdout.write(_table(rows) + "\n")
    if arguments.output:
        told = {"machine": asdict(machine.describe()), "options": vars(arguments), "rows": rows}
        arguments.output.write_text(json.dumps(told, default=_plain, indent=1) + "\n")


def _measured(arguments: argparse.Namespace) -> list[Row]:
    ours, servers = _halves()
    os.sched_setaffinity(0, servers)  # the server inherits it
    with serving(arguments.models, arguments.model, options=("--front", arguments.front)) as server:
        os.sched_setaffinity(0, ours)
        body = _request(server.address, arguments.model)
        asking = Asking(server.address, body, arguments.deadline_ms / 1e3)
        _capacity(asking, ours, 2.0)
        capacity = _capacity(asking, ours, arguments.seconds)
        return [_row(asking, ours, times, capacity, arguments) for times in TIMES]


def _halves() -> tuple[set[int], set[int]]:
    """Return the generators' cores, and the server's."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("overload: there is one core, expected two: one for the generators")
    half = len(cores) // 2
    return set(cores[half:]), set(cores[:half])


def _request(address: str, model: str) -> bytes:
    """A request of zeros, one row, for the inputs that the server describes."""
    with grpc.insecure_channel(address) as channel:
        metadata = GRPCInferenceServiceStub(channel).ModelMetadata(
            oip.ModelMetadataRequest(name=model)
        )
    message = oip.ModelInferRequest(model_name=model)
    for tensor in metadata.inputs:
        shape = [max(1, size) for size in tensor.shape]
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        message.raw_input_contents.append(bytes(int(np.prod(shape)) * _size(tensor.datatype)))
    return message.SerializeToString()


def _size(datatype: str) -> int:
    if datatype == "BYTES":
        raise SystemExit("overload: the model takes strings, expected numbers")
    return BYTES.get(datatype) or int(datatype.lstrip("UINTFP")) // 8


def _capacity(asking: Asking, cores: set[int], seconds: float) -> float:
    """Answers a second to callers of whom each asks again once it is answered."""
    (report,) = _run([(closed, CALLERS, seconds)], asking, cores)
    answered = [one for one in report.seen if one.code == "OK"]
    first = min(one.sent for one in answered)
    return 1e9 * len(answered) / (max(one.ended for one in answered) - first)


def _row(
    asking: Asking, cores: set[int], times: float, capacity: float, arguments: argparse.Namespace
) -> Row:
    rate, seconds, many = times * capacity, arguments.seconds, len(cores)
    arrivals = schedule("poisson", rate, seconds, seed=0)
    parts = [(flood, arguments.connections // many, arrivals[i::many]) for i in range(many)]
    *reports, alone = _run([*parts, (lone, 1, seconds)], asking, cores)
    seen = [one for report in reports for one in report.seen]
    good = _good(seen, asking) + _good(alone.seen, asking)
    refused = [one for one in seen if one.code == "RESOURCE_EXHAUSTED"]
    fine = [one for one in seen if one.code == "OK"]
    return Row(
        times=times,
        asked=len(seen) / seconds,
        goodput=good / seconds,
        capacity=capacity,
        codes=dict(Counter(one.code for one in seen + alone.seen).most_common()),
        ok_p50=_ms(fine, 50),
        ok_p99=_ms(fine, 99),
        refused_p99=_ms(refused, 99),
        with_pushback=sum(one.pushback is not None for one in refused) / max(1, len(refused)),
        lone=_good(alone.seen, asking) / seconds,
        share=capacity / (many * (arguments.connections // many) + 1),
        late_p99=_percentile([one.sent - one.due for one in seen], 99),
        generators=sum(report.cpu_ns for report in reports) / 1e9 / seconds / many,
    )


def _run(
    parts: Sequence[tuple[Callable[..., None], int, Any]], asking: Asking, cores: set[int]
) -> list[Report]:
    """Run each part in a process of its own, all from the same moment on."""
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    pipes, processes = [], []
    for function, connections, what in parts:
        pipe, theirs = context.Pipe()
        process = context.Process(
            target=function, args=(asking, connections, cores, what, theirs), daemon=True
        )
        process.start()
        pipes.append(pipe)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()
    begin = time.perf_counter_ns() + AHEAD
    for pipe in pipes:
        pipe.send(begin)
    reports = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return reports


def _good(seen: Sequence[Seen], asking: Asking) -> int:
    within = int(1e9 * asking.deadline)
    return sum(one.code == "OK" and one.ended - one.due <= within for one in seen)


def _ms(seen: Sequence[Seen], point: float) -> float:
    return _percentile([one.ended - one.due for one in seen], point)


def _percentile(ns: Sequence[int], point: float) -> float:
    return float(np.percentile(ns, point)) / 1e6 if ns else 0.0


def _table(rows: Sequence[Row]) -> str:
    head = (
        "asked", "goodput", "of capacity", "answered p50, p99", "refused p99", "with pushback",
        "codes", "lone caller, its share", "sent late p99", "generators",
    )  # fmt: skip
    lines = [head, ["---"] * len(head), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> list[str]:
    return [
        f"{row.times:g} x {row.capacity:.0f}/s",
        f"{row.goodput:.0f}/s",
        f"{row.goodput / row.capacity:.0%}",
        f"{row.ok_p50:.0f}, {row.ok_p99:.0f} ms",
        f"{row.refused_p99:.1f} ms",
        f"{row.with_pushback:.0%}",
        ", ".join(f"{code} {count}" for code, count in row.codes.items()),
        f"{row.lone:.1f}/s, {row.share:.1f}/s",
        f"{row.late_p99:.1f} ms",
        f"{row.generators:.0%}",
    ]


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, Row) else str(value)


if __name__ == "__main__":
    main()
