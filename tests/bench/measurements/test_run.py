"""Measuring for real: child processes, a server, TensorFlow, on models that are tiny."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun_bench import store
from crossrun_bench.client import classify
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements import rounds
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.comparison import Comparison
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.loadgen.result import LoadGenResult
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.measurements.rounds import Pace, interleaved, started
from crossrun_bench.models.labels import labelled
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.report import markdown
from crossrun_bench.report.chapters import chapters
from crossrun_bench.targets.convert import converted
from crossrun_bench.targets.targets import TARGETS, runner_for
from crossrun_bench.targets.task import Task
from tests.support import detectors
from tests.support.pictures import COLOURS
from tests.support.proofs import forget_checksum, scale_scores
from tests.support.running import Command, Server, run_here

PARENT = """
import sys
import crossrun_bench.cli
import crossrun_bench.measurements.latency.measure
import crossrun_bench.measurements.load.measure
print(*sys.modules)
"""


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one tiny model that crossrun-export made, its Keras source beside it."""
    from tests.support import keras_models  # takes seconds: TensorFlow

    folder = tmp_path_factory.mktemp("exported")
    (folder / "labels.txt").write_text("\n".join(COLOURS) + "\n")
    keras_models.strongest().save(folder / "colours.keras")
    options = ["--labels", folder / "labels.txt", "--pixels", "-1..1"]
    options += ["--output", folder / "models"]
    words = map(str, ["keras", folder / "colours.keras", *options])
    done = run_here(["crossrun-export", *words])
    assert done.returncode == 0, done.stderr
    return folder / "models"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COLOUR/N.png, of three colours, two each."""
    root = tmp_path_factory.mktemp("pictures")
    for name, pixel in COLOURS.items():
        (root / name).mkdir()
        for n in range(2):
            Image.new("RGB", (20 + n, 16), pixel).save(root / name / f"{n}.png")
    return root


def with_int8(exported: Path, root: Path, picture: Path, factors: list[float]) -> Path:
    """Copy the repository, adding `colours-int8`, calibrated on a picture, with scaled scores."""
    shutil.copytree(exported, root)
    shutil.copytree(root / "colours", root / "colours-int8", ignore=lambda *_: ["config.pbtxt"])
    file = root / "colours-int8" / "1" / "model.onnx"
    model = onnx.load(file)
    digits = hashlib.sha256(picture.read_bytes()).hexdigest()[:16]
    meta = {"precision": "int8", "calibration": {"sha256": [digits]}}
    for key, value in meta.items():
        model.metadata_props.add(key=f"crossrun.{key}", value=json.dumps(value))
    scale_scores(model.graph, factors)
    onnx.save(model, file)
    forget_checksum(file.parent)
    return root


@pytest.fixture
def task(colours: Path, tmp_path: Path) -> Task:
    model = read_model(colours, "colours")
    return Task("onnxruntime", model, drawn(tmp_path, 2, model.height, model.width))


def test_rounds_are_interleaved(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two targets take turns, A B A B, after one warm-up turn each: the recorded times show it.

    Each turn keeps how far apart the cores were before it.
    """
    monkeypatch.setattr(rounds, "core_to_core", lambda: 70)
    with started(task) as a, started(task) as b:
        assert a.hear()["first_ns"] > 0
        assert b.hear()["first_ns"] > 0
        found = [turn for _, turn in interleaved([a, b], 2, Pace.of(3), 0.001)]
    assert [turn.round for turn in found] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [turn.started_ns for turn in found] == sorted(turn.started_ns for turn in found)
    assert all(turn.warmup == len(turn.ns) for turn in found[:2])
    assert all(turn.warmup < len(turn.ns) for turn in found[2:])
    assert {turn.core_to_core_ns for turn in found} == {70}


def test_a_pace_ends_when_its_time_is_spent(task: Task) -> None:
    """Rounds beyond the least number are left out once the seconds are over."""
    with started(task) as child:
        child.hear()
        found = list(interleaved([child], 1, Pace(most=50, least=2, seconds=0.0), 0.001))
    assert [turn.round for _, turn in found] == [0, 1, 2]


def test_a_process_that_dies_is_named_with_its_status(task: Task) -> None:
    """A measured process that is killed is an error of one line, not a hang."""
    with started(task) as child:
        child.hear()
        child.process.kill()
        child.process.wait()
        with pytest.raises(BenchError, match="on onnxruntime: its process died with status -9"):
            child.ask(do="peak")


def test_the_parent_process_imports_no_runtime_that_it_measures() -> None:
    """The command line is up without TensorFlow, onnxruntime, scipy or plotly."""
    loaded = subprocess.run(
        [sys.executable, "-c", PARENT], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"tensorflow", "keras", "onnxruntime", "scipy", "plotly"} & set(loaded)


def test_an_error_of_a_target_is_one_line_and_no_file(
    colours: Path, tmp_path: Path, run: Command
) -> None:
    """A request that the server refuses ends the run: its reason, exit status 1, no results."""
    out = tmp_path / "r.json"
    too_many = ["--batch", "1,64", "--targets", "onnxruntime,grpc-raw", "--rounds", "1"]
    done = run(
        "crossrun-bench", "latency", colours, "--model", "colours", *too_many, "--output", out
    )
    assert done.returncode == 1
    assert done.stderr.strip().startswith("crossrun-bench: colours on grpc-raw: INVALID_ARGUMENT")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "nothing"], "no model 'nothing'; it holds colours"),
        (["--model", "colours", "--targets", "gpu"], "unknown target 'gpu'"),
        (["--model", "colours", "--batch", "0"], "expected whole numbers from 1"),
    ],
)
def test_a_mistyped_option_is_one_line(
    colours: Path, run: Command, options: list[str], said: str
) -> None:
    """What was wrong and what was expected, before anything is started."""
    done = run("crossrun-bench", "latency", colours, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_accuracy_of_a_model_that_is_right(
    exported: Path, pictures: Path, tmp_path: Path, run: Command
) -> None:
    """Its source and it, in process and served, are right about all pictures but those left out.

    One picture is left out, by which the model was calibrated.
    """
    root = with_int8(exported, tmp_path / "models", pictures / "blue" / "0.png", [1, 1, 1])
    options = ["--model", "colours-int8", "--images", pictures, "--output", tmp_path / "a.json"]
    targets = "onnxruntime,grpc-raw,grpc-jpeg"
    done = run("crossrun-bench", "accuracy", root, *options, "--targets", targets)
    assert done.returncode == 0, done.stderr
    result = store.read(tmp_path / "a.json")
    assert isinstance(result, AccuracyResult)
    assert result.labels == (2, 1, 1, 0, 0)
    assert result.pictures[0] == "blue/1.png"
    assert result.left_out == 1
    assert [t.target for t in result.targets] == ["keras-predict", *targets.split(",")]
    assert not (tmp_path / "a.json.partial").exists()
    for target in result.targets:
        assert tuple(answer.top5[0] for answer in target.answers) == result.labels
        assert max(answer.difference for answer in target.answers) < 1e-6
    shown = run("crossrun-bench", "report", tmp_path / "a.json", "--output", tmp_path / "r.html")
    assert shown.stdout.count("5 of 5") == 4
    assert "1 picture is left out: the model was calibrated on it." in shown.stdout
    assert shown.stdout.splitlines()[-1] == f"report: {tmp_path / 'r.html'}"


def test_the_source_answers_alike_in_every_form(exported: Path, tmp_path: Path) -> None:
    """By `predict`, as a function, as a SavedModel and as a TFLite file; one process makes both."""
    model = read_model(exported, "colours")
    pictures = drawn(tmp_path, 4, model.height, model.width)
    forms = ("keras-predict", "tf-function", "saved-model", "litert")
    tasks = converted([Task(form, model, pictures) for form in forms], tmp_path)
    assert {"litert", "saved-model"} <= {path.name for path in tmp_path.iterdir()}
    first, *others = (runner_for(task).run(pictures.batch(0, 4)) for task in tasks)
    assert first.shape == (4, 3)
    for answer in others:
        assert np.abs(answer - first).max() < 1e-6


@pytest.fixture(scope="module")
def quantized(
    exported: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """What `precision` found of a model, its int8, which never says blue, and a detector."""
    root = tmp_path_factory.mktemp("quantized")
    with_int8(exported, root / "models", pictures / "green" / "0.png", [1, 1, 0])
    detectors.write_exported(root / "models")
    options = ["--images", pictures, "--rounds", 1, "--output", root / "p.json"]
    done = run_here(["crossrun-bench", "precision", *map(str, [root / "models", *options])])
    assert done.returncode == 0, done.stderr
    return root / "models", root / "p.json"


def said(file: Path) -> Comparison:
    """The answers that `precision` found of the classifier; there are none of the detector."""
    result = store.read(file)
    assert isinstance(result, PrecisionResult)
    colours, finder = result.sources
    assert (finder.models[0].model.name, finder.answers) == ("finder", None)
    assert colours.answers
    return colours.answers


def test_precisions_of_an_exported_model(quantized: tuple[Path, Path], run: Command) -> None:
    """Both are asked about the same pictures, none of which the int8 model was calibrated on."""
    answers = said(quantized[1])
    assert answers.left_out == 1
    best = {t.target: [a.top5[0] for a in t.answers] for t in answers.targets}
    assert list(best) == ["keras-predict", "colours", "colours-int8"]
    assert best["keras-predict"] == best["colours"] == [2, 2, 1, 0, 0]
    assert 2 not in best["colours-int8"]
    shown = run("crossrun-bench", "report", quantized[1]).stdout
    assert "5 of 5" in shown
    assert "3 of 5" in shown
    assert "was calibrated on it." in shown
    assert "Rows without answers are of detectors" in shown


def test_loadgen_holds_a_quantized_model_to_a_share_of_fp32(
    quantized: tuple[Path, Path], pictures: Path, tmp_path: Path, run: Command
) -> None:
    """Its answers are those that `precision` finds, and its share of Keras's top-1 is told."""
    pytest.importorskip("mlperf_loadgen", reason="the extra [loadgen] is not installed")
    options = ["--model", "colours-int8", "--images", pictures, "--accuracy", "--seconds", 0.1]
    options += ["--logs", tmp_path, "--output", tmp_path / "g.json"]
    done = run("crossrun-bench", "loadgen", quantized[0], *options)
    assert done.returncode == 0, done.stderr
    loadgen, answers = store.read(tmp_path / "g.json"), said(quantized[1])
    assert isinstance(loadgen, LoadGenResult)
    keras, _, session = ([a.top5[0] for a in t.answers] for t in answers.targets)
    assert list(loadgen.runs[0].classes or ()) == session != keras
    assert list(loadgen.reference or ()) == keras
    assert loadgen.labels == answers.labels
    assert loadgen.left_out == 1
    assert "| 60.0 % | 60.0 % < 98 % |" in markdown.render(chapters([loadgen]))


def test_latency_of_an_exported_model(
    exported: Path, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From results to report: every target is measured at every size, each in its turn.

    Targets that start slowly start together, after the others, and stay where they were asked for.
    """
    monkeypatch.setitem(TARGETS, "onnxruntime", replace(TARGETS["onnxruntime"], slow_start=True))
    out = tmp_path / "l.json"
    options = "--model colours --batch 1,4 --rounds 2 --json "
    options += "--targets onnxruntime,openvino,grpc-raw,grpc-jpeg --output"
    done = run("crossrun-bench", "latency", exported, *options.split(), out)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LatencyResult)
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(out.read_text())
    names = [target.target for target in result.targets]
    assert names == ["onnxruntime", "openvino", "grpc-raw", "grpc-jpeg"]
    for target in result.targets:
        rounds = [(turn.batch, turn.round) for turn in target.turns]
        assert rounds == [(b, n) for b in (1, 4) for n in (0, 1, 2)]
        assert target.startup_ns
        assert target.peak_rss_bytes
    done = run("crossrun-bench", "report", out, "--markdown", tmp_path / "r.md")
    assert done.returncode == 0, done.stderr
    assert "| ONNX Runtime |" in (tmp_path / "r.md").read_text()


def test_classify_prints_what_a_server_sees(server: Server, pictures: Path, run: Command) -> None:
    """The pictures of a folder go to a running server, and labels come back."""
    options = ["--target", server.address, "--model", "colours", "--top-k", 1, "--json"]
    done = run("crossrun-bench", "classify", pictures, *options)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert {Path(file).parent.name: best[0][0] for file, best in answers.items()} == {
        name: name for name in COLOURS
    }


def test_classify_without_a_server_is_told(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listening is an error that names the address."""
    monkeypatch.setattr(classify, "CONNECT_S", 0.1)
    with pytest.raises(BenchError, match=r"^127.0.0.1:1: no server answered within 0.1 s$"):
        classify.named([pictures], "127.0.0.1:1", "", 1)


def test_folders_name_classes_by_label_or_wordnet_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels, and ids of Keras's class index where there is one, of the folder right above."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    index = {"0": ["n01", "tench"], "1": ["n02", "crane"], "2": ["n03", "crane"]}
    (tmp_path / "models" / "imagenet_class_index.json").write_text(json.dumps(index))
    labels = ["tench", "crane", "crane"]

    def classes(*folders: str) -> tuple[int, ...] | None:
        return labelled(Path("d"), [Path("d") / f / "x.png" for f in folders], labels)[0]

    assert classes("n03", "n01", "Tench", "val/n02") == (2, 0, 0, 1)
    assert classes("holiday", "any/more", ".") is None
    with pytest.raises(BenchError, match=r"d/crane: .* classes, 1, 2; name it by .* n02 or n03"):
        classes("n01", "crane")
