"""The report as Markdown: the tables, the machine, the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrun_bench.report.headlines import headlines
from crossrun_bench.report.tables import Table, machines, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.results import Result


def render(results: Sequence[Result]) -> str:
    """A document that stands alone, or can be pasted into a longer one."""
    shown = tables(results)
    parts = _warnings(shown)
    parts += ["\n".join(f"- **{h.figure}** {h.caption} ({h.detail})" for h in headlines(results))]
    parts += map(_table, shown)
    parts.append(_table(machines(results)))
    parts.append("```\n" + "\n".join(result.command for result in results) + "\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def document(shown: Sequence[Table]) -> str:
    """Tables alone, after their warnings."""
    return "\n\n".join([*_warnings(shown), *map(_table, shown)]) + "\n"


def _warnings(shown: Sequence[Table]) -> list[str]:
    """As GitHub draws alerts."""
    return [f"> [!WARNING]\n> {warning}" for table in shown for warning in table.warnings]


def _table(table: Table) -> str:
    head = [_row(table.columns), _row(["---", *["---:"] * (len(table.columns) - 1)])]
    lines = head + [_row(row) for row in table.rows]
    return "\n\n".join([f"### {table.heading}", "\n".join(lines), *table.notes])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
