"""Precisions side by side, for real, on models that are tiny and need no TensorFlow."""

# ruff: noqa: RUF001 - a report is set with typographic signs

import dataclasses
import hashlib
import json
from pathlib import Path

import onnx
import pytest

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.answers.comparison import Answer, Comparison, TargetAnswers
from crossrun_bench.measurements.precision import plots
from crossrun_bench.measurements.precision.result import MeasuredModel, PrecisionResult, Precisions
from crossrun_bench.measurements.precision.summary import precision_rows, summarise
from crossrun_bench.measurements.rounds import started
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.providers import CPU, Provider
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters, headlines
from crossrun_bench.stats import Ratio
from crossrun_bench.targets.examples import examples
from crossrun_bench.targets.task import Task
from tests.support import models
from tests.support.running import Command

PREPROCESSING = {"scale": 1 / 255, "offset": 0.0}


def write(root: Path, name: str, **properties: object) -> None:
    """Write a model that names colours, with these `crossrun.` properties in its metadata."""
    model = models.colours()
    meta = {"preprocessing": PREPROCESSING} | properties
    onnx.helper.set_model_props(
        model, {f"crossrun.{key}": json.dumps(value) for key, value in meta.items()}
    )
    models.write(root, name, model)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two precisions of one source, one of another, and a model of unknown origin."""
    root = tmp_path_factory.mktemp("precisions")
    paint = {"model": "paint", "weights": "own", "sha256": "1" * 64}
    write(root, "a-int8", source=paint, precision="int8", calibration={"sha256": []})
    write(root, "b", source=paint)  # nothing said of its precision: fp32
    write(root, "c-fp16", source=paint | {"sha256": "2" * 64}, precision="fp16")
    models.write(root, "stranger", models.scale(2.0))
    return root


def test_precisions_of_one_source_stand_together(
    repository: Path, tmp_path: Path, run: Command
) -> None:
    """Source by source, fp32 first, all in one interleaved run; without pictures no answers."""
    out = tmp_path / "p.json"
    done = run("crossrun-bench", "precision", repository, "--rounds", 2, "--output", out)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, PrecisionResult)
    names = [[m.model.name for m in source.models] for source in result.sources]
    assert names == [["b", "a-int8"], ["c-fp16"]]
    found = [m for source in result.sources for m in source.models]
    assert [turn.round for m in found for turn in m.turns] == [0, 1, 2] * 3
    order = sorted((turn.started_ns, turn.round) for m in found for turn in m.turns)
    assert [number for _, number in order] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found[0].file_bytes == (repository / "b" / "1" / "model.onnx").stat().st_size
    assert [source.answers for source in result.sources] == [None, None]
    shown = run("crossrun-bench", "report", out).stdout
    assert "Precisions on CPUExecutionProvider" in shown
    assert "paint" in shown


def test_some_models_can_be_named(repository: Path, run: Command) -> None:
    """Only those named are measured, and the result can be had as JSON."""
    options = ["--model", "b,c-fp16", "--rounds", 1, "--json"]
    done = run("crossrun-bench", "precision", repository, *options)
    assert done.returncode == 0, done.stderr
    sources = json.loads(done.stdout)["sources"]
    assert [m["model"]["name"] for s in sources for m in s["models"]] == ["b", "c-fp16"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--provider", "abacus"], "no execution provider 'abacus' here, but azure, cpu"),
        (["--provider-option", "fast"], "option 'fast' of cpu: expected KEY=VALUE"),
        (["--model", "stranger"], "expected one input [batch, H, W, 3]"),
        (["--images", "nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    repository: Path, run: Command, options: list[str], said: str
) -> None:
    """What was wrong and what was expected, before anything is started."""
    done = run("crossrun-bench", "precision", repository, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_fall_back_to_another_provider_is_an_error(repository: Path, tmp_path: Path) -> None:
    """onnxruntime would only warn that it takes the CPU instead."""
    model, asked = read_model(repository, "b"), Provider("AbacusExecutionProvider", {"fast": "1"})
    task = Task("onnxruntime", model, drawn(tmp_path, 1, 8, 8), provider=asked)
    said = r"b on onnxruntime, Abacus \(fast=1\): cannot run here: there is no AbacusExecution"
    with started(task) as child, pytest.raises(BenchError, match=said):
        child.hear()


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    """A precision that is none, or a calibration without hashes."""
    source = {"model": "paint", "sha256": "1" * 64}
    write(tmp_path, "odd", source=source, precision="int4")
    with pytest.raises(BenchError, match="unknown precision 'int4': expected one of fp32, int8"):
        read_model(tmp_path, "odd")
    write(tmp_path, "worse", source=source, calibration={"sha256": "all"})
    with pytest.raises(BenchError, match=r"no readable 'crossrun\.calibration'"):
        read_model(tmp_path, "worse")


def digits(content: bytes) -> str:
    """How the metadata of a calibrated model name a picture."""
    return hashlib.sha256(content).hexdigest()[:16]


def test_pictures_are_left_out_by_their_bytes(tmp_path: Path) -> None:
    """A picture of calibration is known under any name."""
    for name in ("a", "b", "copy-of-b"):
        (tmp_path / f"{name}.png").write_bytes(name[-1].encode())
    found = examples(tmp_path, [], [digits(b"b")])
    assert (found.names, found.left_out) == (("a.png",), 2)
    assert examples(tmp_path, []).left_out == 0


@pytest.mark.parametrize("command", ["accuracy", "precision"])
def test_a_model_is_not_judged_by_its_calibration(
    command: str, tmp_path: Path, run: Command
) -> None:
    """Where it was calibrated on every picture, nothing is left to measure, in one line."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "seen.png").write_bytes(b"seen")
    source, seen = {"model": "paint", "sha256": "1" * 64}, {"sha256": [digits(b"seen")]}
    write(tmp_path / "models", "m", source=source, precision="int8", calibration=seen)
    options = ["--model", "m", "--images", tmp_path / "images"]
    done = run("crossrun-bench", command, tmp_path / "models", *options)
    assert done.returncode == 1
    assert "the model was calibrated on every picture" in done.stderr
    assert done.stderr.count("\n") == 1


def answers(*best: int) -> tuple[Answer, ...]:
    return tuple(Answer((n, 7, 8, 9, 6), (0.6, 0.1, 0.1, 0.1, 0.1), 0.0) for n in best)


def measured(name: str, precision: str, ms: float, size: int) -> MeasuredModel:
    """Eight rounds after a warm-up, each a little slower than the one before."""
    info = ModelInfo(name, "1", "0" * 64, {"model": name[:5]}, 8, 8, 10, precision)
    turns = [Turn(1, n, n, 0 if n else 2, (int(ms * (1e6 + n)),) * 2) for n in range(9)]
    return MeasuredModel(info, size, tuple(turns))


@pytest.fixture
def result() -> PrecisionResult:
    """Int8 twice as fast as fp32, a quarter as large, right about 3 of 4; and an fp16 alone."""
    said = Comparison(
        pictures=("0", "1", "2", "3"),
        labels=(0, 1, 2, 3),
        unlabelled=None,
        left_out=64,
        targets=(
            TargetAnswers("keras-predict", answers(0, 1, 2, 3)),
            TargetAnswers("paint", answers(0, 1, 2, 3)),
            TargetAnswers("paint-int8", answers(0, 1, 2, 5)),
        ),
    )
    paint = (
        measured("paint", "fp32", 8.0, 16_900_000),
        measured("paint-int8", "int8", 4, 4_300_000),
    )
    alone = (measured("other-fp16", "fp16", 3.0, 950),)
    sources = (Precisions(paint, said), Precisions(alone, None))
    runs_on = Provider("OpenVINOExecutionProvider", {"device_type": "GPU"})
    return PrecisionResult("cmd", machine.describe(), runs_on, sources)


def test_what_is_written_is_what_is_read(result: PrecisionResult, tmp_path: Path) -> None:
    """A result survives its file."""
    store.write(tmp_path / "r.json", result)
    assert store.read(tmp_path / "r.json") == result


def test_each_precision_is_compared_with_fp32(result: PrecisionResult) -> None:
    """In size and in speed, paired by round; what is alone is compared with nothing."""
    fp32, int8 = precision_rows(result.sources[0])
    assert (fp32.share, fp32.faster_than_fp32) == (1.0, Ratio(1.0, None, None))
    assert int8.share == pytest.approx(0.254, rel=0.01)
    assert int8.faster_than_fp32
    assert int8.faster_than_fp32.value == pytest.approx(2.0)
    assert int8.faster_than_fp32.low == pytest.approx(2.0)
    (alone,) = precision_rows(result.sources[1])
    assert (alone.share, alone.accuracy, alone.faster_than_fp32) == (None, None, None)


def test_every_report_shows_the_table(result: PrecisionResult) -> None:
    """Markdown and the page: provider, rows, dashes for what is not known, pictures left out."""
    text, page = markdown.render(chapters([result])), html.render(chapters([result]))
    for form in (text, page):
        assert "Precisions on OpenVINOExecutionProvider (device_type=GPU)" in form
        assert "64 pictures are left out: the int8 model was calibrated on them." in form
    rows = [line for line in text.splitlines() if line.startswith(("| paint", "| other"))]
    assert rows == [
        "| paint | fp32 | 16.9 | 100 % | 100 % | 100 % | 4 of 4 | 8.00 | 1.00× |",
        "| paint | int8 | 4.30 | 25 % | 75.0 % | 75.0 % | 3 of 4 | 4.00 | 2.00× (2.00–2.00) |",
        "| other | fp16 | 0.00 | – | – | – | – | 3.00 | – |",
    ]
    assert page.count("<tbody>") == 3  # two sources, and the machine
    assert "<h1>paint in int8 answers 2.0× faster than fp32</h1>" in page


def test_a_result_without_fp32_has_no_headline(result: PrecisionResult) -> None:
    """The page is named after what was measured."""
    alone = dataclasses.replace(result, sources=result.sources[1:])
    assert headlines(chapters([alone])) == []
    page = html.render(chapters([alone]))
    assert "<h1>other on OpenVINOExecutionProvider (device_type=GPU)</h1>" in page


def test_nothing_on_the_front_is_beaten_in_both(result: PrecisionResult) -> None:
    """Accuracy against latency: what is later and no more accurate is off the line."""
    kept = plots.points([summarise(result)])
    assert [(p.precision, round(p.ms), p.correct) for p in plots.front(kept)] == [
        ("int8", 4, 0.75),
        ("fp32", 8, 1.0),
    ]
    worse = [dataclasses.replace(kept[0], ms=9.0), dataclasses.replace(kept[1], correct=0.5)]
    assert plots.front(kept + worse) == plots.front(kept)


def test_the_page_plots_all_providers_together(result: PrecisionResult) -> None:
    """One plot for all precision results of a report; none where nobody was asked anything."""
    on_cpu = dataclasses.replace(result, provider=CPU)
    page = html.render(chapters([result, on_cpu]))
    assert page.count("<h2>Accuracy against latency</h2>") == 1
    assert "int8, CPUExecutionProvider" in page
    assert "int8, OpenVINOExecutionProvider" in page
    unasked = dataclasses.replace(
        result, sources=tuple(dataclasses.replace(s, answers=None) for s in result.sources)
    )
    assert "Accuracy against latency" not in html.render(chapters([unasked]))
