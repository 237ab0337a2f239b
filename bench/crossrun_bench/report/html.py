"""The report as one HTML page that needs nothing else: styles, scripts and data are inside."""

import base64
from collections.abc import Sequence
from dataclasses import asdict

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.result import Result
from crossrun_bench.report import gallery
from crossrun_bench.report.chapters import (
    Chapter,
    first_warnings,
    headlines,
    overviews,
    tables,
    warned_apart,
)
from crossrun_bench.report.machines import machines
from crossrun_bench.view import figures
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import FOUND, Picture, Section


def render(chapters: Sequence[Chapter], pictures: Sequence[Picture] = ()) -> str:
    """The page, with pictures at its end.

    Raises:
        BenchError: jinja2 or plotly is missing.
    """
    try:
        from jinja2 import Environment, PackageLoader  # noqa: PLC0415 - only the page needs it
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - only the page needs it
    except ModuleNotFoundError as error:
        raise BenchError(distribution.missing(error.name, "bench")) from error

    loader = PackageLoader("crossrun_bench.report", "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"dict": asdict, "base64": _base64}
    sections = _sections(chapters, pictures)
    page: str = environment.get_template("report.html").render(
        warnings=first_warnings(tables(chapters)),
        warned_apart=warned_apart(tables(chapters)),
        headlines=_first_of_each(headlines(chapters)),
        subject=chapters[0].subject,
        sections=sections,
        machine=machines(chapters),
        machine_line=_machine_line(chapters[0].result),
        commands=[chapter.result.command for chapter in chapters],
        plotly=get_plotlyjs() if any(section.plots for section in sections) else "",
    )
    return page


def _first_of_each(found: Sequence[Headline]) -> list[Headline]:
    """The first headline of each caption; the tables have the others."""
    kept: dict[str, Headline] = {}
    for headline in found:
        kept.setdefault(headline.caption, headline)
    return list(kept.values())


def _machine_line(result: Result) -> str:
    machine = result.machine
    return f"{machine.cpu}, {machine.cores:g} cores, {machine.os}, {figures.moment(machine.time)}"


def _sections(chapters: Sequence[Chapter], pictures: Sequence[Picture]) -> list[Section]:
    own = [section for chapter in chapters for section in chapter.sections]
    shown = [Section(FOUND, gallery.CAPTION, pictures=pictures)] if pictures else []
    return [*own, *overviews(chapters), *shown]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
