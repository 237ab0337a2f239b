"""The table of a throughput result."""

from collections.abc import Iterator
from itertools import groupby

from crossrun_bench.measurements.throughput.result import ThroughputResult
from crossrun_bench.measurements.throughput.series import trips
from crossrun_bench.measurements.throughput.summary import ThroughputRow, ThroughputSummary
from crossrun_bench.view import figures, off_by
from crossrun_bench.view.doubts import doubts
from crossrun_bench.view.table import Table

COLUMNS = (
    "Provider",
    "Batch",
    "In process",
    "Bound",
    "CUDA graph",
    "Served",
    "Of in process",
    "Rows a run",
    "Generator",
    "Server",
    "Limit",
    "Errors",
)
NOTES = (
    "Rows a second, means of interleaved turns. In process: the best of one caller on all cores "
    "and, on the CPU, a caller for each core. Bound, CUDA graph: on buffers of the device's own. "
    "Of in process: of the best of these. Rows a run: how the server merged requests. Generator, "
    "Server: their shares of all cores. Limit: what was used to nine tenths, the session itself "
    "before the generator, the server's process (one, of Python) and the cores.",
)


def tables(summary: ThroughputSummary) -> list[Table]:
    """A row for each provider and batch size; what cannot run here stands in the notes."""
    result, rows = summary.result, summary.rows
    groups = tuple(len(list(group)) for _, group in groupby(rows, lambda row: row.provider))
    heading = f"Throughput of {figures.model(result.model)}"
    notes = (*NOTES, *_notes(result))
    proven = any(row.proof and row.proof.difference is not None for row in rows)
    columns = (*COLUMNS, off_by.COLUMN) if proven else COLUMNS
    cells = tuple((*_cells(r), off_by.difference(r.proof)) if proven else _cells(r) for r in rows)
    told = (*notes, *off_by.notes(row.proof for row in rows))
    warnings = doubts("Throughput", result.machine.noise, trips(result))
    return [Table(heading, columns, cells, told, groups, warnings=warnings)]


def _cells(row: ThroughputRow) -> tuple[str, ...]:
    return (
        row.provider,
        str(row.batch),
        *map(rate, (row.plain, row.bound, row.graph, row.served)),
        figures.part(row.share),
        figures.plain(row.rows_a_run),
        figures.part(row.generator),
        figures.part(row.server),
        row.limit or figures.NONE,
        f"{row.errors:,}",
    )


def rate(per_second: float | None) -> str:
    """Rows a second."""
    return figures.NONE if per_second is None else figures.rate(per_second)


def _notes(result: ThroughputResult) -> Iterator[str]:
    for found in result.providers:
        if found.missing:
            yield f"{found.provider} cannot be measured here: {found.missing}."
        elif any(turn.batch > found.max_batch_size for turn in found.alone):
            most = f"{found.max_batch_size:,} rows, max_batch_size"
            yield f"{found.provider}: the server takes {most}; larger batches are in process only."
        yield from (f"{found.provider}: {failure}" for failure in found.failures)
        if found.precision:
            yield f"{found.provider} computes fp32 in {found.precision}."
    if result.cards:
        yield f"Graphics cards and drivers: {'; '.join(result.cards)}."
