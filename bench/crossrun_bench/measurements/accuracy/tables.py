"""The tables of an accuracy result."""

from crossrun_bench.measurements.accuracy import differences_tables
from crossrun_bench.measurements.accuracy.summary import AccuracySummary
from crossrun_bench.measurements.answers.tables import SAME_PIXELS, caveats, columns, shares
from crossrun_bench.targets.targets import ENCODED, label
from crossrun_bench.view import figures
from crossrun_bench.view.table import Table

DIVERGENCE = (
    "KL divergence: Σ p ln(p / q) over the classes, p the reference's probabilities, q the "
    "target's, none under 1e-9, both scaled to a sum of 1."
)


def tables(summary: AccuracySummary) -> list[Table]:
    """All targets, then where some of them differ from the reference."""
    return [_targets(summary), *differences_tables.tables(summary)]


def _targets(summary: AccuracySummary) -> Table:
    """Labels, agreement and differences for each target."""
    result = summary.result
    rows = tuple(
        (
            label(row.target),
            *shares(row),
            figures.difference(row.max_difference),
            figures.difference(row.divergence),
        )
        for row in summary.rows
    )
    agrees = columns([result.targets[0].target])
    heads = ("Target", *agrees, "Largest difference", "Mean KL divergence, nats")
    decodes = any(target.target == ENCODED for target in result.targets)
    notes = (*((SAME_PIXELS,) if decodes else ()), DIVERGENCE, *caveats(result))
    return Table(f"Accuracy on {len(result.pictures):,} pictures", heads, rows, notes)
