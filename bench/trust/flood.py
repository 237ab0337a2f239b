"""The processes that ask: an open loop over many connections, closed loops, and a lone caller.

All use gRPC's own client, without retries, so that each request that is due is sent once and its
code is what a user would see.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import grpc

INFER = "/inference.GRPCInferenceService/ModelInfer"
PUSHBACK = "grpc-retry-pushback-ms"
OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
READY = 30.0  # seconds that a connection may take


@dataclass(frozen=True)
class Asking:
    """What is asked, and whom."""

    address: str
    body: bytes  # a ModelInferRequest
    deadline: float  # seconds


class Seen(NamedTuple):
    """One request; times are nanoseconds of time.perf_counter_ns(), one clock for all processes."""

    due: int
    sent: int
    ended: int
    code: str
    pushback: int | None  # milliseconds


@dataclass
class Report:
    """What a process has seen, and the CPU time that it took for it."""

    seen: list[Seen] = field(default_factory=list)
    cpu_ns: int = 0


def flood(
    asking: Asking, connections: int, cores: set[int], schedule: Sequence[int], pipe: Connection
) -> None:
    """Send each request when it is due, over the connections in turn.

    Says that it is ready, then hears when to begin; the schedule is nanoseconds from then.
    """
    os.sched_setaffinity(0, cores)
    channels, calls = _connected(asking, connections)
    pipe.send("ready")
    begin: int = pipe.recv()
    report, cpu = Report(), time.process_time_ns()
    pending = threading.Semaphore(0)
    for number, after in enumerate(schedule):
        due = begin + after
        time.sleep(max(0, due - time.perf_counter_ns()) / 1e9)
        sent = time.perf_counter_ns()
        call = calls[number % connections].future(asking.body, timeout=asking.deadline)
        call.add_done_callback(partial(_note, report, pending, due, sent))
    for _ in schedule:
        pending.acquire()
    report.cpu_ns = time.process_time_ns() - cpu
    pipe.send(report)
    for channel in channels:
        channel.close()


def closed(asking: Asking, callers: int, cores: set[int], seconds: float, pipe: Connection) -> None:
    """Keep some callers asking, each on a connection of its own; none of them has a deadline."""
    os.sched_setaffinity(0, cores)
    channels, calls = _connected(asking, callers)
    pipe.send("ready")
    until = pipe.recv() + int(1e9 * seconds)
    report = Report()
    threads = [
        threading.Thread(target=_ask, args=(c, asking.body, None, until, report)) for c in calls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(report)
    for channel in channels:
        channel.close()


def lone(asking: Asking, _: int, cores: set[int], seconds: float, pipe: Connection) -> None:
    """Ask one request at a time; after a refusal, wait for as long as it says."""
    os.sched_setaffinity(0, cores)
    (channel,), (call,) = _connected(asking, 1)
    pipe.send("ready")
    until = pipe.recv() + int(1e9 * seconds)
    report = Report()
    _ask(call, asking.body, asking.deadline, until, report)
    pipe.send(report)
    channel.close()


def _connected(asking: Asking, count: int) -> tuple[list[grpc.Channel], list[Any]]:
    channels = [grpc.insecure_channel(asking.address, OPTIONS) for _ in range(count)]
    for channel in channels:
        grpc.channel_ready_future(channel).result(READY)
    return channels, [channel.unary_unary(INFER) for channel in channels]


def _ask(
    call: Callable[..., Any], body: bytes, deadline: float | None, until: int, report: Report
) -> None:
    while (sent := time.perf_counter_ns()) < until:
        made = call.future(body, timeout=deadline)  # type: ignore[attr-defined]
        seen = _seen(sent, sent, made)
        report.seen.append(seen)
        if seen.code != grpc.StatusCode.OK.name:
            time.sleep((seen.pushback or 0) / 1e3)


def _note(report: Report, pending: threading.Semaphore, due: int, sent: int, call: Any) -> None:
    report.seen.append(_seen(due, sent, call))
    pending.release()


def _seen(due: int, sent: int, call: Any) -> Seen:
    code = call.code()  # waits
    ended = time.perf_counter_ns()
    trailing = dict(call.trailing_metadata() or ())
    told = trailing.get(PUSHBACK)
    return Seen(due, sent, ended, code.name, None if told is None else int(told))
