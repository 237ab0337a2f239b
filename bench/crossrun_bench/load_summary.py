"""Summaries of load, computed on reading: how much of what is there a server gives.

*Free* is what servers could give at most: the most that onnxruntime does in process with no more
callers than there are clients, times the share of the cores that the generator leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossrun_bench.stats import Mean, mean, percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.results import LoadResult, LoadTarget, LoadTurn


@dataclass(frozen=True)
class LoadRow:
    """One target with one number of clients. Latencies are milliseconds; None without answers."""

    target: str
    in_process: bool
    clients: int
    rate: Mean  # requests a second
    share_of_free: float | None  # 0 to 1; None in process
    p50: float | None
    p99: float | None
    added_p50: float | None  # over the best in process; None but for one client of a server
    generator: float  # its share of all cores, 0 to 1
    cpu_ms: float | None  # of the server, for one request
    rss_bytes: int | None
    errors: dict[str, int]

    @property
    def p99_to_ideal(self) -> float | None:
        """By clients ÷ rate, what every request would take if all took the same."""
        return None if self.p99 is None else self.p99 * self.rate.value / (1e3 * self.clients)


def load_rows(result: LoadResult) -> list[LoadRow]:
    """Those in process first, then for each number of clients a row for each server."""
    alone = [_row(t, n, result, []) for t in result.targets if t.in_process for n in _clients(t)]
    servers = [target for target in result.targets if not target.in_process]
    counts = dict.fromkeys(n for server in servers for n in _clients(server))
    return alone + [
        _row(server, n, result, alone)
        for n in counts
        for server in servers
        if n in _clients(server)
    ]


def _clients(target: LoadTarget) -> list[int]:
    return list(dict.fromkeys(turn.clients for turn in target.turns))


def _row(target: LoadTarget, clients: int, result: LoadResult, alone: Sequence[LoadRow]) -> LoadRow:
    turns = [turn for turn in target.turns if turn.clients == clients]
    rate = mean([1e9 * len(turn.us) / turn.wall_ns for turn in turns])
    p50, p99 = _percentiles(turns)
    generator = _busy(turns, result.machine.cores)
    return LoadRow(
        target=target.target,
        in_process=target.in_process,
        clients=clients,
        rate=rate,
        share_of_free=_share(rate.value, clients, generator, alone),
        p50=p50,
        p99=p99,
        added_p50=_added(p50, clients, alone),
        generator=generator,
        cpu_ms=_cpu_ms(turns),
        rss_bytes=max((t.rss_bytes for t in turns if t.rss_bytes is not None), default=None),
        errors=_errors(turns),
    )


def _percentiles(turns: Sequence[LoadTurn]) -> tuple[float | None, float | None]:
    us = [took for turn in turns for took in turn.us]
    if not us:
        return None, None
    p50, p99 = percentiles(us, (50, 99))
    return p50 / 1e3, p99 / 1e3


def _busy(turns: Sequence[LoadTurn], cores: float) -> float:
    return sum(t.generator_cpu_ns for t in turns) / (cores * sum(t.wall_ns for t in turns))


def _share(rate: float, clients: int, generator: float, alone: Sequence[LoadRow]) -> float | None:
    best = max((row.rate.value for row in alone if row.clients <= clients), default=0.0)
    free = best * (1 - generator)
    return rate / free if free else None


def _added(p50: float | None, clients: int, alone: Sequence[LoadRow]) -> float | None:
    fastest = [row.p50 for row in alone if row.clients == 1 and row.p50 is not None]
    if clients != 1 or p50 is None or not fastest:
        return None
    return p50 - min(fastest)


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
