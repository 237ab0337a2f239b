"""Summaries of load, computed on reading: how much of the free throughput a server reaches.

*Free* is what servers could give at most: the most that onnxruntime does in process with no more
callers than there are clients, times the share of the cores that the generator leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.measurements.load import intervals
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn
from crossrun_bench.measurements.load.steady import settled
from crossrun_bench.stats import Mean, Ratio, mean, percentiles, tail


@dataclass(frozen=True)
class Latency:
    """Milliseconds; None if there are too few answers to tell, see `stats.tail`."""

    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    longest: float | None


@dataclass(frozen=True)
class Parts:
    """Medians of the parts of a request's time, in milliseconds; None if the server sends none."""

    decode: float | None  # of a JPEG or PNG, in the server
    queue: float | None
    compute: float | None
    rest: float | None  # the wire, both ends of gRPC, and a late generator
    late: float | None  # p99 of from due to sent; None in a closed loop


@dataclass(frozen=True)
class LoadRow:
    """One target under one load. Latencies are milliseconds; None without answers."""

    target: str
    in_process: bool
    clients: int  # 0 in an open loop
    offered: float | None  # requests a second; None in a closed loop
    rate: Mean  # answered within the time, requests a second
    share_of_free: Ratio | None  # None in process and in an open loop
    latency: Latency
    parts: Parts
    p99_to_ideal: Ratio | None  # by clients ÷ rate, what each would take if all took the same
    added_p50: float | None  # over the best in process; None but for one client of a server
    generator: float | None  # its share of all cores, 0 to 1; None if the process asks itself
    generator_cores: float  # of one of its processes, 0 to 1
    cpu_ms: float | None  # of the server, for one request
    rss_bytes: int | None
    errors: dict[str, int]
    unsettled: int  # turns that were in no steady state


@dataclass(frozen=True)
class LoadSummary:
    """A result, and a row for each target and load."""

    result: LoadResult
    closed: Sequence[LoadRow]
    open: Sequence[LoadRow]  # without what only looked for the highest rate
    probed: Sequence[LoadRow]  # open loops, with it


def summarise(result: LoadResult) -> LoadSummary:
    """All that is shown of a result."""
    return LoadSummary(result, load_rows(result), open_rows(result), open_rows(result, probes=True))


def load_rows(result: LoadResult) -> list[LoadRow]:
    """Closed loops: those in process, then for each number of clients a row for each server."""
    alone = [target for target in result.targets if target.in_process]
    others = [target for target in result.targets if not target.in_process]
    served = [row for target in others for row in _closed(target, result, alone)]
    first = [row for target in alone for row in _closed(target, result, [])]
    return first + _together(served, [row.clients for row in served])


def _closed(target: LoadTarget, result: LoadResult, alone: Sequence[LoadTarget]) -> list[LoadRow]:
    turns = [turn for turn in target.turns if turn.rate is None]
    counts = dict.fromkeys(turn.clients for turn in turns)
    return [_row(target, [t for t in turns if t.clients == n], result, alone) for n in counts]


def open_rows(result: LoadResult, *, probes: bool = False) -> list[LoadRow]:
    """Open loops: for each rate a row for each server. With `probes` also those of a search."""
    rows = [row for target in result.targets for row in _open(target, result, probes)]
    return _together(rows, [row.offered for row in rows])


def _open(target: LoadTarget, result: LoadResult, probes: bool) -> list[LoadRow]:
    turns = [t for t in target.turns if t.rate is not None and (probes or not t.probe)]
    rates = dict.fromkeys(turn.rate for turn in turns)
    return [_row(target, [t for t in turns if t.rate == rate], result, []) for rate in rates]


def _together(rows: Sequence[LoadRow], loads: Sequence[float | None]) -> list[LoadRow]:
    """Rows of one load beside each other, loads in the order they were first given."""
    order = list(dict.fromkeys(loads))
    return sorted(rows, key=lambda row: order.index(row.offered or row.clients))


def _row(
    target: LoadTarget, turns: Sequence[LoadTurn], result: LoadResult, alone: Sequence[LoadTarget]
) -> LoadRow:
    clients, offered = turns[0].clients, turns[0].rate
    rate, latency = mean([_rate(turn) for turn in turns]), _latency(turns)
    busy, cores = _busy(turns), result.machine.cores
    return LoadRow(
        target=target.target,
        in_process=target.in_process,
        clients=clients,
        offered=offered,
        rate=rate,
        share_of_free=_share(rate.value, turns, cores, alone),
        latency=latency,
        parts=_parts(turns),
        p99_to_ideal=_to_ideal(latency.p99, rate.value, turns),
        added_p50=_added(latency.p50, clients, alone),
        generator=None if target.in_process or target.runtime else busy / cores,
        generator_cores=busy / min(result.processes, clients or result.processes),
        cpu_ms=_cpu_ms(turns),
        rss_bytes=max((t.rss_bytes for t in turns if t.rss_bytes is not None), default=None),
        errors=_errors(turns),
        unsettled=sum(not settled(turn) for turn in turns),
    )


def _rate(turn: LoadTurn) -> float:
    """Answers within the time; in an open loop some of those to requests due before it."""
    answers = len(turn.us) if turn.rate is None else sum(turn.ended)
    return 1e9 * answers / turn.wall_ns


def _mean_rate(turns: Sequence[LoadTurn]) -> float:
    return sum(map(_rate, turns)) / len(turns) if turns else 0.0


def _busy(turns: Sequence[LoadTurn]) -> float:
    """Cores that the generator took."""
    return sum(t.generator_cpu_ns for t in turns) / sum(t.wall_ns for t in turns)


def _latency(turns: Sequence[LoadTurn]) -> Latency:
    us = [took for turn in turns for took in turn.us]
    p99, p999 = _ms(tail(us, 99)), _ms(tail(us, 99.9))
    if not us:
        return Latency(None, None, None, None, None)
    p50, p90 = percentiles(us, (50, 90))
    return Latency(p50 / 1e3, p90 / 1e3, p99, p999, max(us) / 1e3)


def _parts(turns: Sequence[LoadTurn]) -> Parts:
    told = [turn for turn in turns if len(turn.queue_us) == len(turn.compute_us) == len(turn.us)]
    queue, compute, us = (
        np.concatenate([getattr(turn, name) for turn in told] or [[]])
        for name in ("queue_us", "compute_us", "us")
    )
    decode = np.array([took for turn in told for took in turn.decode_us])
    rest = us - queue - compute
    rest -= decode if len(decode) == len(us) else 0
    late = [us for turn in turns for us in turn.late_us]
    return Parts(
        decode=_median_ms(decode),
        queue=_median_ms(queue),
        compute=_median_ms(compute),
        rest=_median_ms(rest),
        late=_ms(tail(late, 99)),
    )


def _median_ms(us: NDArray[Any]) -> float | None:
    return float(np.median(us)) / 1e3 if len(us) else None


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1e3


def _share(
    rate: float, turns: Sequence[LoadTurn], cores: float, alone: Sequence[LoadTarget]
) -> Ratio | None:
    """Of the best in process with no more callers than clients, and what the generator leaves."""
    fitting = [target.turns for target in alone if target.turns[0].clients <= turns[0].clients]
    best = max(fitting, key=_mean_rate, default=())
    free = _mean_rate(best) * (1 - _busy(turns) / cores)
    return intervals.share_of_free(rate / free, turns, best, cores) if free else None


def _to_ideal(p99: float | None, rate: float, turns: Sequence[LoadTurn]) -> Ratio | None:
    clients = turns[0].clients
    if p99 is None or not clients:
        return None
    return intervals.p99_to_ideal(p99 * rate / (1e3 * clients), turns)


def _added(p50: float | None, clients: int, alone: Sequence[LoadTarget]) -> float | None:
    fastest = [_latency(target.turns).p50 for target in alone if target.turns[0].clients == 1]
    known = [ms for ms in fastest if ms is not None]
    return p50 - min(known) if clients == 1 and p50 is not None and known else None


def _cpu_ms(turns: Sequence[LoadTurn]) -> float | None:
    known = [turn for turn in turns if turn.server_cpu_ns is not None]
    served = sum(turn.served for turn in known)
    return sum(turn.server_cpu_ns or 0 for turn in known) / served / 1e6 if served else None


def _errors(turns: Sequence[LoadTurn]) -> dict[str, int]:
    found: dict[str, int] = {}
    for turn in turns:
        for code, count in turn.errors.items():
            found[code] = found.get(code, 0) + count
    return found
