"""What a measurement has to bring, so that files, the report and `compare` know it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from crossrun_bench import store
from crossrun_bench.compare.command import compare
from crossrun_bench.measurements import facts
from crossrun_bench.measurements.interface import Kind
from crossrun_bench.measurements.kinds import KINDS, name_of
from crossrun_bench.measurements.result import Result
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import Chapter, chapters
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import plain
from crossrun_bench.view.series import Comparable
from crossrun_bench.view.table import Table
from tests.support.measured import INFO, MACHINE


@dataclass(frozen=True)
class EnergyResult(Result):
    """Joules of each request."""

    model: ModelInfo
    joules: tuple[float, ...]


def summarise(result: EnergyResult) -> float:
    summarised.append(result)
    return max(result.joules)


def comparable(result: EnergyResult) -> Comparable:
    once = {("onnxruntime", "batch 1", "throughput"): 1 / max(result.joules)}
    return Comparable(facts=facts.of_model(result.model), models=[result.model], once=once)


def tables(most: float) -> list[Table]:
    return [Table("Energy", ("Target", "Most J"), (("onnxruntime", f"{most:g}"),))]


ENERGY = Kind(
    result=EnergyResult,
    subject=lambda result: f"Energy of {result.model.name}",
    summarise=summarise,
    tables=tables,
    headlines=lambda most: [Headline(f"{most:g} J", "at most", "", f"It takes {most:g} J")],
    sections=lambda most: plain(tables(most)),
    comparable=comparable,
)
RESULT = EnergyResult("crossrun-bench energy models", MACHINE, INFO, (2.0, 4.0))
summarised: list[EnergyResult] = []


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the registry."""
    monkeypatch.setitem(KINDS, "energy", ENERGY)
    summarised.clear()


def test_a_line_in_the_registry_is_all_that_files_need(tmp_path: Path) -> None:
    """A result survives its file, under the name of the line."""
    store.write(tmp_path / "r.json", RESULT)
    assert store.read(tmp_path / "r.json") == RESULT
    assert name_of(RESULT) == "energy"


def test_every_form_of_the_report_shows_what_one_summary_holds() -> None:
    """Page and Markdown have table and headline, and the result is summarised once for both."""
    shown = chapters([RESULT])
    page, text = html.render(shown), markdown.render(shown)
    assert "<h1>It takes 4 J</h1>" in page
    assert "<h2>Energy</h2>" in page
    assert "plotly" not in page
    assert "| onnxruntime | 4 |" in text
    assert summarised == [RESULT]


def test_a_result_without_a_headline_is_called_by_its_subject(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The page has a title all the same."""
    silent = Kind(
        result=EnergyResult,
        subject=ENERGY.subject,
        summarise=summarise,
        tables=tables,
        sections=ENERGY.sections,
    )
    monkeypatch.setitem(KINDS, "energy", silent)
    assert "<h1>Energy of m</h1>" in html.render([Chapter(RESULT)])


def test_two_results_are_compared_by_what_the_measurement_says() -> None:
    """A score of one run has no interval, and so no verdict."""
    twice = EnergyResult(RESULT.command, MACHINE, INFO, (8.0,))
    (change,) = compare(RESULT, twice, apart=5.0, allow_unlike=False).changes
    assert (change.target, change.setting, change.value) == ("onnxruntime", "batch 1", -50.0)
    assert change.verdict == "too few rounds"
