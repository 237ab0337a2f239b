"""A section of the page, whatever it is about."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.view.plot import Plot
from crossrun_bench.view.table import Table

Picture = tuple[str, bytes]  # a name, and the picture as JPEG
FOUND = "What was found"  # heads pictures


@dataclass(frozen=True)
class Thumbnail:
    """A small picture in base64, its name, and what is said of it, a line for each."""

    jpeg: str
    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in this order."""

    heading: str
    intro: str = ""
    legend: Sequence[tuple[str, str]] = ()  # colours by their names in the style sheet, and texts
    plots: Sequence[Plot] = ()
    layout: str = ""  # of the plots: names of classes in the style sheet
    table: Table | None = None
    pictures: Sequence[Picture] = ()
    thumbnails: Sequence[Thumbnail] = ()


def plain(tables: Sequence[Table]) -> list[Section]:
    """A section for each table."""
    return [Section(table.heading, table=table) for table in tables]
