"""The report's part on throughput: a table of batch sizes on each provider, a headline."""

from collections.abc import Iterator
from itertools import groupby

from crossrun_bench.measurements.throughput.result import ThroughputResult
from crossrun_bench.measurements.throughput.summary import ThroughputRow, throughput_rows
from crossrun_bench.report.headlines import Headline
from crossrun_bench.view import figures, proofs
from crossrun_bench.view.table import Table, noisy

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


def table(result: ThroughputResult) -> Table:
    """A row for each provider and batch size; what cannot run here stands in the notes."""
    rows = throughput_rows(result)
    groups = tuple(len(list(group)) for _, group in groupby(rows, lambda row: row.provider))
    heading = f"Throughput of {figures.model(result.model)}"
    notes = (*NOTES, *_notes(result))
    proven = any(row.proof and row.proof.difference is not None for row in rows)
    columns = (*COLUMNS, proofs.COLUMN) if proven else COLUMNS
    cells = tuple((*_cells(r), proofs.difference(r.proof)) if proven else _cells(r) for r in rows)
    told = (*notes, *proofs.notes(row.proof for row in rows))
    return Table(heading, columns, cells, told, groups, warnings=noisy(result))


def _cells(row: ThroughputRow) -> tuple[str, ...]:
    return (
        row.provider,
        str(row.batch),
        *map(_rate, (row.plain, row.bound, row.graph, row.served)),
        figures.part(row.share),
        figures.plain(row.rows_a_run),
        figures.part(row.generator),
        figures.part(row.server),
        row.limit or figures.NONE,
        f"{row.errors:,}",
    )


def _rate(per_second: float | None) -> str:
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


def headlines(result: ThroughputResult) -> Iterator[Headline]:
    """The most that our server gives."""
    rows = [row for row in throughput_rows(result) if row.served]
    row = max(rows, key=lambda row: row.served or 0, default=None)
    if row:
        figure, caption = _rate(row.served), "rows a second through the server"
        detail = f"{row.provider}, batch {row.batch}, {figures.part(row.share)} of in process"
        yield Headline(figure, caption, detail, f"{row.provider} gives {figure} {caption}")
