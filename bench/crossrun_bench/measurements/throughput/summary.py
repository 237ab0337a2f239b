"""Summaries of throughput, computed on reading: what a server reaches of a session, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from crossrun_bench.measurements.throughput.result import (
    AloneTurn,
    ProviderThroughput,
    ServedTurn,
    ThroughputResult,
)
from crossrun_bench.models.checked import Checked

# From this share on something counts as used up: a machine is never quite idle.
ALL = 0.9
CPU = "cpu"


@dataclass(frozen=True)
class ThroughputRow:
    """One provider at one batch size. Rates are rows a second; None if nothing was measured."""

    provider: str
    batch: int
    plain: float | None  # the best of all numbers of callers
    bound: float | None
    graph: float | None
    served: float | None
    share: float | None  # of the best in process, 0 to 1 or more
    rows_a_run: float | None  # in the server, which merges requests
    generator: float | None  # its share of all cores, 0 to 1
    server: float | None  # the same of the server
    limit: str | None  # what kept the server from more
    errors: int
    proof: Checked | None = None  # how far its answers are from the original's


@dataclass(frozen=True)
class ThroughputSummary:
    """A result, and a row for each provider that ran and batch size."""

    result: ThroughputResult
    rows: Sequence[ThroughputRow]  # in the order measured


def summarise(result: ThroughputResult) -> ThroughputSummary:
    """All that is shown of a result."""
    return ThroughputSummary(result, throughput_rows(result))


def throughput_rows(result: ThroughputResult) -> list[ThroughputRow]:
    """A row for each provider that ran and batch size, in the order measured."""
    return [
        _row(found, batch, result.machine.cores)
        for found in result.providers
        for batch in dict.fromkeys(turn.batch for turn in found.alone)
    ]


def _row(found: ProviderThroughput, batch: int, cores: float) -> ThroughputRow:
    turns = [turn for turn in found.served if turn.batch == batch]
    rates = {way: _alone(found.alone, batch, way) for way in ("plain", "bound", "graph")}
    best = max((rate for rate in rates.values() if rate), default=None)
    served = _mean([1e9 * batch * turn.answered / turn.wall_ns for turn in turns])
    share = None if served is None or best is None else served / best
    generator = _mean([turn.generator_cpu_ns / turn.wall_ns for turn in turns])
    server = _mean([turn.server_cpu_ns / turn.server_ns for turn in turns])
    return ThroughputRow(
        provider=found.provider,
        batch=batch,
        **rates,
        served=served,
        share=share,
        rows_a_run=_rows_a_run(turns),
        generator=None if generator is None else generator / cores,
        server=None if server is None else server / cores,
        limit=_limit(found.provider, share, generator, server, cores),
        errors=sum(sum(turn.errors.values()) for turn in turns),
        proof=found.proof,
    )


def _alone(turns: Sequence[AloneTurn], batch: int, way: str) -> float | None:
    """Mean over the rounds, with the number of callers that is fastest."""
    rates: dict[int, list[float]] = {}
    for turn in turns:
        if (turn.batch, turn.way) == (batch, way):
            rate = 1e9 * turn.callers * batch / fmean(turn.ns)
            rates.setdefault(turn.callers, []).append(rate)
    return max(map(fmean, rates.values()), default=None)


def _rows_a_run(turns: Sequence[ServedTurn]) -> float | None:
    runs = sum(turn.executions for turn in turns)
    return sum(turn.executed_rows for turn in turns) / runs if runs else None


def _limit(
    provider: str,
    share: float | None,
    generator: float | None,  # cores that it kept busy
    server: float | None,
    cores: float,
) -> str | None:
    """What was used up first. One Python process uses little more than a core."""
    if share is None or generator is None or server is None:
        return None
    if share >= ALL:
        return "the session"
    if generator >= ALL:
        return "the generator"
    if provider != CPU and server >= ALL:
        return "the server's process"
    if generator + server >= ALL * cores:
        return "the cores"
    return "the session, or the way to it"


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
