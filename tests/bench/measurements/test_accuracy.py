"""Accuracy over many pictures: an interrupted run, and what a result tells of differences."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from scipy.stats import entropy

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.accuracy.differences import by_class, flips
from crossrun_bench.measurements.accuracy.measure import measure
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.classes import AnswersLine, asked
from crossrun_bench.measurements.answers.comparison import Answer, TargetAnswers
from crossrun_bench.measurements.answers.gathering import CHUNK, ready
from crossrun_bench.measurements.answers.partial import Partial
from crossrun_bench.measurements.answers.run import AccuracyPlan
from crossrun_bench.measurements.answers.summary import accuracy_rows
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.progress import bar
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters
from crossrun_bench.targets.subjects import Asked
from crossrun_bench.targets.task import Task
from tests.support.pages import Fetched
from tests.support.pictures import COLOURS
from tests.support.proofs import scale_scores
from tests.support.results import accuracy

MACHINE = machine.describe()
MEASURE = """
import sys
from pathlib import Path
from crossrun_bench.measurements.accuracy.measure import measure
from crossrun_bench.measurements.answers.run import AccuracyPlan
from crossrun_bench.targets.subjects import Asked

models, images, output = sys.argv[1:]
asked = Asked(Path(models), "colours", ("onnxruntime", "openvino"))
measure(AccuracyPlan(asked, images, Path(output)), "cmd")
"""
LABELS = (0, 1, 2, 3)
NAMES = tuple(f"label {n}" for n in range(10))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """COLOUR/N.png, a little over four chunks of them."""
    for i in range(4 * CHUNK + 3):
        name = list(COLOURS)[i % 3]
        file = tmp_path / "many" / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), tuple(c + i % 40 for c in COLOURS[name])).save(file)
    return tmp_path / "many"


def test_an_interrupted_run_goes_on(
    colours: Path, many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed half-way, it asks about the rest alone, and has the answers of a run in one go."""
    out, kept = tmp_path / "a.json", tmp_path / "a.json.partial"
    start = [sys.executable, "-c", MEASURE, str(colours), str(many), str(out)]
    with subprocess.Popen(start, env=os.environ | {"TMPDIR": str(tmp_path)}) as process:
        while not (kept.exists() and kept.read_text().count("\n") >= 2):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    done = kept.read_text().count("\n") - 1
    assert 0 < done < 5
    plan = AccuracyPlan(Asked(colours, "colours", ("onnxruntime", "openvino")), str(many), out)
    result = measure(plan, "cmd")
    assert (
        f"going on after {done * CHUNK:,} of {4 * CHUNK + 3:,} pictures" in capsys.readouterr().err
    )
    assert replace(result, machine=MACHINE) == replace(
        measure(replace(plan, output=None), "cmd"), machine=MACHINE
    )
    assert len(kept.read_text().splitlines()) == 6
    other = replace(plan, asked=replace(plan.asked, targets=("onnxruntime",)))
    with pytest.raises(BenchError, match=f"{kept}: of a run with other targets; remove it"):
        measure(other, "cmd")


def test_divergence_is_kullback_and_leiblers(colours: Path, tmp_path: Path) -> None:
    """From the reference, in nats, where no probability counts as less than 1e-9."""
    root = shutil.copytree(colours, tmp_path / "models")
    file = root / "colours" / "1" / "model.onnx"
    changed = onnx.load(file)
    scale_scores(changed.graph, [1, 0.5, 0])
    onnx.save(changed, file)
    models = [read_model(folder, "colours") for folder in (colours, root)]
    pictures = drawn(tmp_path, 3, 8, 8)
    tasks = [Task("onnxruntime", model, pictures) for model in models]
    files = [Path(file) for file in pictures.files]
    with ExitStack() as stack, bar(0) as step:
        same, other = asked(ready(tasks, stack), files, tmp_path, step)
    p = pictures.batch(0, 3).pixels.mean(axis=(1, 2)) / 255
    q = np.maximum(p * [1, 0.5, 0], 1e-9)
    assert [answer.divergence for answer in same] == [0, 0, 0]
    found = [answer.divergence for answer in other]
    assert found == pytest.approx(entropy(p, q, axis=1).tolist(), rel=1e-4)


def test_answers_are_kept_line_by_line(tmp_path: Path) -> None:
    """Whole lines are read again, one that was cut short is not, and damage is told."""
    out, kept = tmp_path / "a.json", tmp_path / "a.json.partial"
    chunk = tuple(target.answers for target in accuracy().targets)
    for count in range(3):
        partial: Partial[Answer] = Partial(out, {"model": "m"}, AnswersLine)
        assert partial.chunks == [chunk] * count
        partial.append(chunk)
        with kept.open("a") as file:
            file.write('{"answers": [[')
    with pytest.raises(BenchError, match=f"{kept}: of a run with other model; remove it"):
        Partial(out, {"model": "n"}, AnswersLine)
    kept.write_text('{"format"')
    assert Partial(out, {"model": "m"}, AnswersLine).chunks == []
    kept.write_text("{\n")
    with pytest.raises(BenchError, match=f"{kept}: damaged, remove it"):
        Partial(out, {"model": "m"}, AnswersLine)


def differing(count: int = 1) -> AccuracyResult:
    """`count` times four pictures, the last of which gets class 9 from onnxruntime and litert."""
    plain = accuracy(LABELS * count)
    keras, onnx = (target.answers * count for target in plain.targets)
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, "JPEG")
    names = tuple(f"{n}.png" for n in range(4 * count))
    targets = (
        TargetAnswers("keras-predict", keras),
        TargetAnswers("onnxruntime", onnx),
        TargetAnswers("litert", onnx),
        TargetAnswers("openvino", keras),
    )
    jpeg = base64.b64encode(pixel.getvalue()).decode()
    return replace(
        plain, pictures=names, targets=targets, class_names=NAMES, thumbnails={"3.png": jpeg}
    )


def test_pictures_that_flip_are_shown_with_both_classes() -> None:
    """The picture, both classes with their scores, who said so, and how it looks."""
    text = markdown.render(chapters([differing()]))
    row = "| 3.png | label 3 0.600 | label 9 0.500 | ONNX Runtime, LiteRT |"
    assert row in text
    page = html.render(chapters([differing()]))
    parser = Fetched()
    parser.feed(page)
    assert [source[:27] for source in parser.found] == ["img src=data:image/jpeg;bas"]
    assert "ONNX Runtime, LiteRT: label 9 0.500" in page


def test_classes_that_flip_are_counted() -> None:
    """By label where there is one, else by what the reference says; only targets that differ."""
    text = markdown.render(chapters([differing(2)]))
    assert "| Class | Pictures | ONNX Runtime | LiteRT |" in text
    assert "| label 3 | 2 | 2 | 2 |" in text
    (row,) = by_class(replace(differing(), labels=None))
    assert (row.number, row.pictures, row.flips) == (3, 1, {"onnxruntime": 1, "litert": 1})


def test_of_many_flips_the_worst_are_shown() -> None:
    """Twelve rows, and how many there are."""
    result = differing(20)
    assert len(flips(result)) == 20
    text = markdown.render(chapters([result]))
    assert text.count("label 9 0.500") == 12
    assert "The worst 12 of 20." in text


def test_where_all_agree_nothing_is_said_of_differences() -> None:
    """No empty table, and no list of pictures."""
    plain = accuracy()
    same = replace(plain, targets=(plain.targets[0],) * 2)
    assert "differs" not in markdown.render(chapters([same]))
    assert "<img" not in html.render(chapters([same]))


def test_a_result_from_before_divergence_is_read(tmp_path: Path) -> None:
    """What an older version did not write is not known, and is shown as that."""
    document = store.to_document(accuracy())
    for name in ("class_names", "thumbnails"):
        del document[name]
    for answer in (a for target in document["targets"] for a in target["answers"]):
        del answer["divergence"]
    (tmp_path / "r.json").write_text(json.dumps(document))
    old = store.read(tmp_path / "r.json")
    assert accuracy_rows(old)[1].divergence is None  # type: ignore[arg-type]
    text = markdown.render(chapters([old]))
    assert "| 2.5e-01 | – |" in text  # noqa: RUF001 - as the report writes it
    assert "| 3.png | class 3 0.600 | class 9 0.500 | ONNX Runtime |" in text


def test_the_mean_divergence_is_shown() -> None:
    """In nats, over the pictures."""
    plain = accuracy()
    known = [
        Answer(a.top5, a.scores, a.difference, 0.25 * n)
        for n, a in enumerate(plain.targets[1].answers)
    ]
    targets = (plain.targets[0], TargetAnswers("onnxruntime", tuple(known)))
    assert "| 3.8e-01 |" in markdown.render(chapters([replace(plain, targets=targets)]))
