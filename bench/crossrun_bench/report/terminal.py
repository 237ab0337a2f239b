"""The report's tables on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from crossrun_bench.report.chapters import Chapter, tables
from crossrun_bench.view.table import Table

_WIDTH = 140


def show(chapters: Sequence[Chapter]) -> None:
    """Print every table to stdout."""
    show_tables(tables(chapters))


def show_tables(shown: Sequence[Table]) -> None:
    """Print tables, the warnings of each before it."""
    console = _console()
    for table in shown:
        _warn(console, table)
        console.print(_grid(table))


def show_warnings(chapter: Chapter) -> None:
    """Print only what a reader has to know before the figures."""
    for table in chapter.tables:
        _warn(_console(), table)


def _warn(console: Console, table: Table) -> None:
    for warning in table.warnings:
        console.print(f"[bold yellow]Warning:[/] {escape(warning)}", highlight=False)


def show_classes(answers: Mapping[Path, Sequence[tuple[str, float]]]) -> None:
    """Print what each picture shows."""
    rows = tuple(
        (file.name if i == 0 else "", name, f"{score:.3f}")
        for file, classes in answers.items()
        for i, (name, score) in enumerate(classes)
    )
    _console().print(_grid(Table("", ("Picture", "Class", "Score"), rows)))


def _console() -> Console:
    """As wide as the terminal; without a terminal, as wide as the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def _grid(table: Table) -> Grid:
    grid = Grid(
        title=escape(table.heading) or None,
        caption=escape("\n".join(table.notes)) or None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
    )
    for i, column in enumerate(table.columns):
        grid.add_column(column, justify="right" if i else "left")
    for rows in table.grouped():
        for row in rows:
            grid.add_row(*map(escape, row))
        grid.add_section()
    return grid
