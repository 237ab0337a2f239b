"""Summaries of load, computed on reading: how much of what is there a server gives.

*Free* is what servers could give at most: the most that onnxruntime does in process with no more
callers than there are clients, times the share of the cores that the generator leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crossrun_bench.load.steady import settled
from crossrun_bench.stats import Mean, mean, percentiles, tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.results import LoadResult, LoadTarget, LoadTurn


@dataclass(frozen=True)
class Latency:
    """Milliseconds; None where there are too few answers to tell, see `stats.tail`."""

    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    longest: float | None


@dataclass(frozen=True)
class Parts:
    """Medians of what a request's time was made of, in milliseconds; None where nobody tells."""

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
    share_of_free: float | None  # 0 to 1; None in process and in an open loop
    latency: Latency
    parts: Parts
    added_p50: float | None  # over the best in process; None but for one client of a server
    generator: float | None  # its share of all cores, 0 to 1; None where the process asks itself
    generator_cores: float  # of one of its processes, 0 to 1
    cpu_ms: float | None  # of the server, for one request
    rss_bytes: int | None
    errors: dict[str, int]
    unsettled: int  # turns that were in no steady state

    @property
    def p99_to_ideal(self) -> float | None:
        """By clients ÷ rate, what every request would take if all took the same."""
        p99 = self.latency.p99
        return None if p99 is None else p99 * self.rate.value / (1e3 * self.clients)


def load_rows(result: LoadResult) -> list[LoadRow]:
    """Closed loops: those in process, then for each number of clients a row for each server."""
    alone = [row for t in result.targets if t.in_process for row in _closed(t, result, [])]
    served = [row for t in result.targets if not t.in_process for row in _closed(t, result, alone)]
    return alone + _together(served, [row.clients for row in served])


def _closed(target: LoadTarget, result: LoadResult, alone: Sequence[LoadRow]) -> list[LoadRow]:
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
    target: LoadTarget, turns: Sequence[LoadTurn], result: LoadResult, alone: Sequence[LoadRow]
) -> LoadRow:
    clients, offered = turns[0].clients, turns[0].rate
    rate, latency = mean([_rate(turn) for turn in turns]), _latency(turns)
    busy = sum(t.generator_cpu_ns for t in turns) / sum(t.wall_ns for t in turns)
    generator = busy / result.machine.cores
    return LoadRow(
        target=target.target,
        in_process=target.in_process,
        clients=clients,
        offered=offered,
        rate=rate,
        share_of_free=_share(rate.value, clients, generator, alone),
        latency=latency,
        parts=_parts(turns),
        added_p50=_added(latency.p50, clients, alone),
        generator=None if target.in_process or target.runtime else generator,
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
    late = [us for turn in turns for us in turn.late_us]
    parts = (queue, compute, us - queue - compute)
    queued, computed, rest = (float(np.median(part)) / 1e3 if len(us) else None for part in parts)
    return Parts(queued, computed, rest, _ms(tail(late, 99)))


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1e3


def _share(rate: float, clients: int, generator: float, alone: Sequence[LoadRow]) -> float | None:
    best = max((row.rate.value for row in alone if row.clients <= clients), default=0.0)
    free = best * (1 - generator)
    return rate / free if free else None


def _added(p50: float | None, clients: int, alone: Sequence[LoadRow]) -> float | None:
    fastest = [row.latency.p50 for row in alone if row.clients == 1]
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
