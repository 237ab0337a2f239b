"""The report as one HTML page that needs nothing else: styles, scripts and data are inside."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy import differences_tables
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.detection import tables as average_precision
from crossrun_bench.measurements.detection.result import DetectionResult
from crossrun_bench.measurements.kinds import Result
from crossrun_bench.measurements.latency import plots
from crossrun_bench.measurements.latency import tables as latency
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.load import plots as load_plots
from crossrun_bench.measurements.load import tables as load
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.precision import plots as pareto
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.report import gallery, machines, tables
from crossrun_bench.report.gallery import Pictures
from crossrun_bench.report.headlines import Headline, headlines
from crossrun_bench.view import figures

_PLOTTED = (LatencyResult, LoadResult, PrecisionResult)


def render(results: Sequence[Result], pictures: Pictures = ()) -> str:
    """The page, with pictures at its end; BenchError where jinja2 or plotly is missing."""
    try:
        from jinja2 import Environment, PackageLoader  # noqa: PLC0415 - only the page needs it
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 - only the page needs it
    except ModuleNotFoundError as error:
        raise BenchError(distribution.missing(error.name, "bench")) from error

    loader = PackageLoader("crossrun_bench.report", "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page: str = environment.get_template("report.html").render(
        warnings=[w for table in tables.tables(results) for w in table.warnings],
        headlines=_first_of_each(headlines(results)),
        model=figures.subject(results[0]),
        sections=[*map(_section, results), *_pareto(results), *_gallery(pictures)],
        machine=machines.machines(results),
        machine_line=_machine_line(results[0]),
        commands=[result.command for result in results],
        plotly=get_plotlyjs() if any(isinstance(r, _PLOTTED) for r in results) else "",
    )
    return page


def _first_of_each(found: Sequence[Headline]) -> list[Headline]:
    """Of several results that say the same thing the first; the tables have the others."""
    kept: dict[str, Headline] = {}
    for headline in found:
        kept.setdefault(headline.caption, headline)
    return list(kept.values())


def _machine_line(result: Result) -> str:
    machine = result.machine
    return f"{machine.cpu}, {machine.cores:g} cores, {machine.os}, {figures.moment(machine.time)}"


def _section(result: Result) -> dict[str, Any]:
    if isinstance(result, LatencyResult):
        return _latency(result)
    if isinstance(result, LoadResult):
        return _load(result)
    if isinstance(result, AccuracyResult):
        return _accuracy(result)
    if isinstance(result, DetectionResult):
        return _detection(result)
    (table,) = tables.tables([result])
    return {"kind": "table", "table": table}


def _accuracy(result: AccuracyResult) -> dict[str, Any]:
    return {
        "kind": "accuracy",
        "tables": tables.tables([result]),
        "thumbnails": differences_tables.thumbnails(result),
    }


def _detection(result: DetectionResult) -> dict[str, Any]:
    return {
        "kind": "detection",
        "tables": tables.tables([result]),
        "caption": average_precision.caption(result),
        "pictures": _encoded(average_precision.pictures(result)),
    }


def _gallery(pictures: Pictures) -> list[dict[str, Any]]:
    shown = _encoded(pictures)
    section = {"kind": "detection", "tables": [], "caption": gallery.CAPTION, "pictures": shown}
    return [section] if shown else []


def _encoded(pictures: Iterable[tuple[str, bytes]]) -> list[tuple[str, str]]:
    return [(name, base64.b64encode(jpeg).decode()) for name, jpeg in pictures]


def _pareto(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Of all precisions on all providers together, where pictures were shown to several."""
    found = pareto.points([result for result in results if isinstance(result, PrecisionResult)])
    if len(found) < 2:
        return []
    return [{"kind": "pareto", "points": found, "plots": [asdict(pareto.plot(found))]}]


def _load(result: LoadResult) -> dict[str, Any]:
    plots = load_plots.plots(result)
    legend = [(colour, target) for target, colour in load_plots.colours(result).items()]
    if any(plot.title == load_plots.TIME for plot in plots):
        legend += [(part, part) for part in load_plots.PARTS]
    return {
        "kind": "load",
        "targets": legend,
        "plots": [asdict(plot) for plot in plots],
        "tables": load.tables(result),
    }


def _latency(result: LatencyResult) -> dict[str, Any]:
    return {
        "kind": "latency",
        "targets": figures.colours(result),
        "distributions": [asdict(plot) for plot in plots.distributions(result)],
        "throughputs": [asdict(plot) for plot in plots.throughputs(result)],
        "resources": [asdict(plot) for plot in plots.resources(result)],
        "table": latency.latency(result),
        "starts": latency.STARTS,
    }
