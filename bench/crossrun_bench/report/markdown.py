"""The report as Markdown: the tables, the machine, the commands; or tables for a longer text."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from crossrun_bench import files
from crossrun_bench.errors import BenchError
from crossrun_bench.report import gallery
from crossrun_bench.report.chapters import (
    Chapter,
    first_warnings,
    headlines,
    tables,
    warned_apart,
)
from crossrun_bench.report.machines import machines
from crossrun_bench.view.section import FOUND, Picture
from crossrun_bench.view.table import Table

Pictures = Sequence[Picture]

# <!-- crossrun-bench: load 2.1 -->, whatever stands there now, <!-- end -->
_PLACE = re.compile(
    r"(<!-- crossrun-bench: (\w+)(?: (\d+)(?:\.(\d+))?)? -->\n).*?(<!-- end -->)", re.DOTALL
)


def write(path: Path, chapters: Sequence[Chapter], pictures: Pictures = ()) -> None:
    """Write the document, and the pictures that it shows into a folder beside: NAME-pictures."""
    folder = path.with_name(f"{path.stem}-pictures")
    for i, (_, shown) in enumerate(_pictures(chapters, pictures), 1):
        for j, (_, jpeg) in enumerate(shown, 1):
            files.write_bytes(folder / f"{i}-{j}.jpg", jpeg)
    files.write_text(path, render(chapters, folder.name, pictures))


def render(chapters: Sequence[Chapter], folder: str = "", pictures: Pictures = ()) -> str:
    """A document that stands alone, or can be pasted into a longer one.

    It shows pictures where `folder` names the one that `write` puts them into.
    """
    shown = tables(chapters)
    parts = _alerts(first_warnings(shown))
    parts += ["\n".join(f"- **{h.figure}** {h.caption} ({h.detail})" for h in headlines(chapters))]
    parts += _tables(shown)
    parts += _shown(chapters, folder, pictures) if folder else []
    parts.append(_table(machines(chapters)))
    parts.append("```\n" + "\n".join(chapter.result.command for chapter in chapters) + "\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def renewed(text: str, chapters: Sequence[Chapter]) -> str:
    """`text` with new tables at the places that ask for some.

    A place begins with `<!-- crossrun-bench: KIND N.M -->`, for the Mth table of the Nth result of
    a kind, the first of the first where nothing is said, and ends with `<!-- end -->`.

    Raises:
        BenchError: there is no place, or no such result.
    """
    filled, places = _PLACE.subn(lambda place: _filled(place, chapters), text)
    if not places:
        raise BenchError(
            "no place for a table; expected <!-- crossrun-bench: latency --> … <!-- end -->"
        )
    return filled


def _filled(place: re.Match[str], chapters: Sequence[Chapter]) -> str:
    begin, kind, number, which, end = place.groups()
    found = [chapter for chapter in chapters if chapter.name == kind]
    if not 1 <= int(number or 1) <= len(found):
        raise BenchError(f"{begin.strip()}: there are {len(found)} results of this kind")
    shown = found[int(number or 1) - 1].tables
    if not 1 <= int(which or 1) <= len(shown):
        raise BenchError(f"{begin.strip()}: the result has {len(shown)} tables")
    return f"{begin}{_grid(shown[int(which or 1) - 1])}\n{end}"


def _pictures(chapters: Sequence[Chapter], others: Pictures) -> Iterator[tuple[str, Pictures]]:
    """Of each section with pictures what they show, and they, by their names; then the others."""
    for section in (section for chapter in chapters for section in chapter.sections):
        if section.pictures:
            yield section.intro, section.pictures
    if others:
        yield gallery.CAPTION, others


def _shown(chapters: Sequence[Chapter], folder: str, others: Pictures) -> Iterator[str]:
    for i, (caption, shown) in enumerate(_pictures(chapters, others), 1):
        yield f"### {FOUND}\n\n{caption}"
        for j, (name, _) in enumerate(shown, 1):
            yield f"![{name}]({quote(folder)}/{i}-{j}.jpg)"


def document(shown: Sequence[Table]) -> str:
    """Tables alone, after their warnings."""
    return "\n\n".join([*_alerts(first_warnings(shown)), *_tables(shown)]) + "\n"


def _alerts(warnings: Sequence[str]) -> list[str]:
    """As GitHub draws alerts."""
    return [f"> [!WARNING]\n> {warning}" for warning in warnings]


def _tables(shown: Sequence[Table]) -> Iterator[str]:
    """All tables; with their warnings, unless these stand before all."""
    for table in shown:
        yield from _alerts(table.warnings) if warned_apart(shown) else ()
        yield _table(table)


def _table(table: Table) -> str:
    return "\n\n".join([f"### {table.heading}", _grid(table), *table.notes])


def _grid(table: Table) -> str:
    head = [_row(table.columns), _row(["---", *["---:"] * (len(table.columns) - 1)])]
    return "\n".join(head + [_row(row) for row in table.rows])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
