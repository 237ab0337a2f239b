"""The tables of a load result."""

from collections.abc import Sequence
from itertools import groupby

from crossrun_bench.measurements.load import slo
from crossrun_bench.measurements.load.generator.loops import MOST
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget
from crossrun_bench.measurements.load.series import trips
from crossrun_bench.measurements.load.summary import LoadRow, LoadSummary
from crossrun_bench.targets.targets import TARGETS
from crossrun_bench.view import figures
from crossrun_bench.view.doubts import moved, noisy
from crossrun_bench.view.table import Table

COLUMNS = (
    "Target",
    "Clients",
    "Requests/s",
    "Of free",
    "p50 ms",
    "p99 ms",
    "p99 ÷ ideal",
    "Added p50 ms",
    "Generator",
    "CPU ms",
    "MB",
    "Errors",
)
NOTES = (
    "Closed loop: as many requests as clients are always under way. Requests/s: mean over "
    "interleaved rounds, 95 % interval; those of the shares of free and of p99 ÷ ideal are by a "
    "bootstrap of rounds, and of thirds within each. Free: the best in process with no more "
    "callers than clients, times the share of the cores that the generator leaves. Ideal: clients "
    "÷ throughput. Generator: its share of all cores. CPU, MB: of all processes of the server, CPU "
    "for one request. 2x1: two sessions at once, of one thread each.",
)
RUNTIMES = (
    "In process, in a process that asks itself: {all}. Clients are its threads, CPU and MB are "
    "theirs too.{alone}"
)
ALONE = " One call at a time, first come, first served: {alone}."
NEIGHBOUR = "Another process kept one core busy all the time."
LATENCY_COLUMNS = (
    "Target",
    "Load",
    "Answered/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "p99.9 ms",
    "Max ms",
    "Queue ms",
    "Compute ms",
    "Rest ms",
    "Late ms",
    "Failed",
)
LATENCY = (
    "A percentile is given where ten requests or more took longer. Queue, compute: medians of what "
    "the target tells of each request; rest: of what remains of its time at the client."
)
OPEN = (
    "Open loop, {arrivals} arrivals: requests go out at so many a second, answered or not, and "
    "their time counts from when they were due. Late: p99 of from due to sent. NOT_SENT: {most} "
    "were under way already."
)
UNSETTLED = (
    "†2: two turns were not settled: over three thirds of the time, throughput or median latency "
    "was not within 10 % of the mean."
)
HIGHEST_COLUMNS = (
    "Target",
    "Requests/s",
    "Not at",
    "Of closed loop",
    "Held",
    "Probes",
)
HIGHEST = (
    "Open loop, {arrivals} arrivals. Requests/s: the highest rate at which this held, no request "
    "failed and no queue grew. Not at: the lowest rate at which two probes did not hold. Of "
    "closed loop: of the most that was answered there."
)
FULL, LATE = 0.7, 0.25  # see `limits`


def tables(summary: LoadSummary) -> list[Table]:
    """Throughput in closed loops, latency under every load, the highest rate if it was asked."""
    return [_throughput(summary), _latency(summary), *_highest(summary)]


def _throughput(summary: LoadSummary) -> Table:
    """A row for each target and number of clients."""
    result, rows = summary.result, summary.closed
    groups = [len(list(group)) for _, group in groupby(rows, _group)]
    heading = f"Load on {figures.model(result.model)}"
    neighbour = [NEIGHBOUR] if result.neighbour else []
    notes = (*NOTES, *_runtimes(result), *neighbour, *_marked(rows))
    cells = tuple(map(_cells, rows))
    return Table(heading, COLUMNS, cells, notes, tuple(groups), warnings=_warnings(result))


def _runtimes(result: LoadResult) -> list[str]:
    """What a reader has to know of targets that no generator asks."""
    names = [target.target for target in result.targets if target.runtime]
    concurrent = {target.label for target in TARGETS.values() if target.concurrent}
    alone = ", ".join(name for name in names if name not in concurrent)
    said = RUNTIMES.format(all=", ".join(names), alone=ALONE.format(alone=alone) if alone else "")
    return [said] if names else []


def _warnings(result: LoadResult) -> tuple[str, ...]:
    """Of noise, in which servers have a part that ran already."""
    foreign = [t.target for t in result.targets for turn in t.turns if turn.server_cpu_ns is None]
    said = f"Others are servers that ran already too: {', '.join(dict.fromkeys(foreign))}."
    noise = noisy("Load", result.machine.noise)
    told = (f"{text} {said}" if foreign else text for text in noise)
    return (*told, *moved("Load", trips(result)))


def _group(row: LoadRow) -> tuple[bool, float]:
    return row.in_process, 0 if row.in_process else row.offered or row.clients


def _cells(row: LoadRow) -> tuple[str, ...]:
    p50, p99 = row.latency.p50, row.latency.p99
    return (
        row.target,
        f"{row.clients}{_mark(row)}",
        figures.rate_with_interval(row.rate),
        figures.part_with_interval(row.share_of_free),
        *map(figures.plain, (p50, p99)),
        figures.plain_with_interval(row.p99_to_ideal),
        figures.plain(row.added_p50),
        figures.part(row.generator),
        figures.plain(row.cpu_ms),
        figures.NONE if row.rss_bytes is None else f"{row.rss_bytes / 1e6:,.0f}",
        _errors(row),
    )


def _errors(row: LoadRow) -> str:
    return ", ".join(f"{count:,} {code}" for code, count in row.errors.items()) or "0"


def _mark(row: LoadRow) -> str:
    return f"\N{NO-BREAK SPACE}†{row.unsettled}" if row.unsettled else ""


def _marked(rows: Sequence[LoadRow]) -> list[str]:
    return [UNSETTLED] if any(row.unsettled for row in rows) else []


def _latency(summary: LoadSummary) -> Table:
    """A row for each server and load, closed loops first."""
    closed = [row for row in summary.closed if not row.in_process]
    rows = [*closed, *summary.open]
    groups = [len(list(group)) for _, group in groupby(rows, _group)]
    notes = [LATENCY, *_decoded(rows), *_open(summary.result), *_failed(rows), *_marked(rows)]
    notes += limits([*closed, *summary.probed])
    cells = tuple(map(_latency_cells, rows))
    return Table("Latency at the client", LATENCY_COLUMNS, cells, tuple(notes), tuple(groups))


def _open(result: LoadResult) -> list[str]:
    return [OPEN.format(arrivals=result.arrivals, most=MOST)] if result.arrivals else []


def _latency_cells(row: LoadRow) -> tuple[str, ...]:
    latency, parts = row.latency, row.parts
    ms = (latency.p50, latency.p90, latency.p99, latency.p999, latency.longest)
    return (
        row.target,
        _load(row) + _mark(row),
        figures.rate(row.rate.value),
        *map(figures.plain, (*ms, parts.queue, parts.compute, parts.rest, parts.late)),
        f"{sum(row.errors.values()):,}",
    )


def _decoded(rows: Sequence[LoadRow]) -> list[str]:
    known = [row for row in rows if row.parts.decode is not None]
    named = [f"{row.target} at {_load(row)} {figures.plain(row.parts.decode)}" for row in known]
    return [f"Decoding the picture, ms: {'; '.join(named)}."] if named else []


def _failed(rows: Sequence[LoadRow]) -> list[str]:
    named = [f"{row.target} at {_load(row)}: {_errors(row)}" for row in rows if row.errors]
    return [f"Failed: {'; '.join(named)}."] if named else []


def _load(row: LoadRow) -> str:
    closed = f"{row.clients}\N{NO-BREAK SPACE}clients"
    return closed if row.offered is None else f"{figures.rate(row.offered)}/s"


def limits(rows: Sequence[LoadRow]) -> list[str]:
    """A warning where the generator, not the server, may be what was measured.

    By bench/limit/generator.py one process was 1.4 ms late (p99) with 0.53 of a core, at 2,000
    requests a second, and 14 ms with 0.78, at 3,000.
    """
    asked = [row for row in rows if row.generator is not None]
    full = [row for row in asked if row.generator_cores >= FULL]
    late = [
        r for r in asked if r.parts.late and r.latency.p99 and r.parts.late > LATE * r.latency.p99
    ]
    found = []
    if full:
        found.append(f"it took {figures.part(FULL)} of a core or more: {_named(full)}")
    if late:
        found.append(f"much of the latency is late sending: {_named(late)}")
    remedy = "Try --processes 2, or ask from another machine."
    return [f"Warning, the generator is at its limit: {why}. {remedy}" for why in found]


def _named(rows: Sequence[LoadRow]) -> str:
    return ", ".join(f"{row.target} at {_load(row)}" for row in rows)


def _highest(summary: LoadSummary) -> list[Table]:
    result = summary.result
    if result.objective is None:
        return []
    served = [target for target in result.targets if not target.in_process]
    rows = tuple(_highest_cells(target, summary) for target in served)
    notes = (HIGHEST.format(arrivals=result.arrivals),)
    return [Table(f"Highest rate with {result.objective}", HIGHEST_COLUMNS, rows, notes)]


def _highest_cells(target: LoadTarget, summary: LoadSummary) -> tuple[str, ...]:
    assert summary.result.objective
    probes = [turn for turn in target.turns if turn.probe]
    found = slo.highest(probes, summary.result.objective)
    rates = [row.rate.value for row in summary.closed if row.target == target.target]
    best = max(rates, default=0.0)
    return (
        target.target,
        *(
            figures.NONE if rate is None else figures.rate(rate)
            for rate in (found.rate, found.fails_at)
        ),
        figures.part(found.rate / best if found.rate and best else None),
        f"{found.held} of {found.asked}",
        f"{found.probes}",
    )
