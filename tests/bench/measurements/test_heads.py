"""Accuracy and load of classifiers whose scores are no probabilities, or one for two classes."""

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy.measure import measure
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.classes import asked
from crossrun_bench.measurements.answers.comparison import Answer, agree
from crossrun_bench.measurements.answers.gathering import ready
from crossrun_bench.measurements.answers.run import AccuracyPlan
from crossrun_bench.measurements.answers.summary import accuracy_rows
from crossrun_bench.models import heads
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.progress import bar
from crossrun_bench.targets.subjects import Asked
from crossrun_bench.targets.task import Task
from tests.support import models
from tests.support.classifiers import FIRST, LOGITS, classifier, config, node
from tests.support.running import Command

PREPROCESSING = {"scale": 1 / 255, "offset": 0.0}


def write(root: Path, name: str, model: onnx.ModelProto, head: str, labels: list[str]) -> None:
    """An exported model, with what its file says of itself."""
    said = {"preprocessing": PREPROCESSING, "source": {"model": "m"}, "scores": {"head": head}}
    if not head:
        del said["scores"]
    properties = {f"crossrun.{key}": json.dumps(value) for key, value in said.items()}
    onnx.helper.set_model_props(model, properties)
    text = config(*([("scores", head)] if head.startswith("binary") else []))
    models.write(root, name, model, text, labels)


def single(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return classifier(FIRST, *nodes, width=1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("heads")
    two, three = ["dull", "red"], ["red", "green", "blue"]
    write(root, "binary", single(node("Sigmoid", "one")), "binary", two)
    write(root, "binary_logits", single(node("Identity", "one")), "binary-logits", two)
    write(root, "logits", classifier(LOGITS), "logits", three)
    write(root, "sigmoid", classifier(node("Sigmoid", "x")), "sigmoid", three)
    less = [node("Sub", "one", "step", to="less"), node("Sigmoid", "less")]
    write(root, "never", single(*less), "binary", two)  # says dull of everything
    return root


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LABEL/N.png: three are what their folder says, the fourth is not."""
    root = tmp_path_factory.mktemp("pictures")
    for place, (label, red) in enumerate((("red", 250), ("red", 140), ("dull", 20), ("dull", 200))):
        (root / label).mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (red, 10, 60)).save(root / label / f"{place}.png")
    return root


@pytest.mark.parametrize("name", ["binary", "binary_logits"])
def test_one_score_answers_for_two_classes_on_every_way(
    name: str, repository: Path, pictures: Path
) -> None:
    """In process, as tensors and as pictures: the same decisions, top-1 by both labels."""
    targets = ("onnxruntime", "grpc-raw", "grpc-jpeg")
    result = measure(AccuracyPlan(Asked(repository, name, targets), str(pictures), None), "cmd")
    assert isinstance(result, AccuracyResult)
    for row in accuracy_rows(result):
        assert (row.top1, row.top5, row.agreement) == (0.75, None, 1.0)
        assert row.max_difference < 1e-6
    first = result.targets[0].answers[result.pictures.index("red/0.png")]
    sure = 1 / (1 + np.exp(-(250 - 127.5) / 25.5))
    assert first.top5 == (1, 0)
    assert first.scores == pytest.approx((sure, 1 - sure), abs=1e-6)


def test_a_decision_that_turns_round_does_not_agree(repository: Path, tmp_path: Path) -> None:
    """A model that says the first class of everything agrees where the other says so, no more."""
    found = [read_model(repository, name) for name in ("binary", "never")]
    some = drawn(tmp_path, 12, 8, 8)
    tasks = [Task("onnxruntime", model, some) for model in found]
    with ExitStack() as stack, bar(0) as step:
        files = [Path(file) for file in some.files]
        one, other = asked(ready(tasks, stack), files, tmp_path, step)
    red = some.batch(0, 12).pixels.mean(axis=(1, 2))[:, 0] > 127.5
    assert 0 < red.sum() < 12
    assert [agree(b, a) for a, b in zip(one, other, strict=True)] == (~red).tolist()


def test_logits_are_compared_as_probabilities(repository: Path, tmp_path: Path) -> None:
    """Differences and divergences are of the softmax, whose sum is 1."""
    model = read_model(repository, "logits")
    logits = np.array([[3.98, -1.0, 1.98]])
    powers = np.exp(logits) / np.exp(logits).sum()
    assert heads.probabilities(model, logits) == pytest.approx(powers)
    some = drawn(tmp_path, 2, 8, 8)
    with ExitStack() as stack, bar(0) as step:
        files = [Path(file) for file in some.files]
        (said,) = asked(ready([Task("onnxruntime", model, some)], stack), files, tmp_path, step)
    assert [sum(answer.scores) for answer in said] == pytest.approx([1, 1])
    assert [answer.divergence for answer in said] == [0, 0]


def test_sigmoids_agree_where_the_same_classes_are_there(repository: Path) -> None:
    """Not where their order differs; where none is there, the best class decides."""
    model = read_model(repository, "sigmoid")
    reference = np.array([[0.9, 0.8, 0.1], [0.9, 0.8, 0.1], [0.2, 0.1, 0.3]], np.float32)
    said = np.array([[0.8, 0.9, 0.1], [0.9, 0.4, 0.1], [0.4, 0.1, 0.3]], np.float32)
    found = heads.decided_alike(model, said, reference)
    assert found is not None
    assert found.tolist() == [True, False, False]
    assert heads.decided_alike(replace(model, head="softmax"), said, reference) is None
    kept = Answer((1, 0), (0.9, 0.8), 0.1, same_classes=True)
    assert agree(kept, Answer((0, 1), (0.9, 0.8), 0.0, same_classes=True))


def test_the_server_is_asked_for_pictures_of_logits_too(
    repository: Path, tmp_path: Path, run: Command
) -> None:
    """A load in encoded pictures is checked against probabilities, as Classify tells them."""
    options = ["--form", "raw,jpeg", "--clients", 1, "--rounds", 1, "--seconds", 0.1]
    options += ["--model", "binary_logits", "--output", tmp_path / "load.json"]
    done = run("crossrun-bench", "load", repository, *options)
    assert done.returncode == 0, done.stderr


def test_a_file_that_does_not_say_what_its_one_score_means_is_refused(tmp_path: Path) -> None:
    """Nor is one whose head nobody knows."""
    write(tmp_path, "unsaid", single(node("Sigmoid", "one")), "", ["dull", "red"])
    with pytest.raises(BenchError, match=r"one score, and 'crossrun\.scores' does not say"):
        read_model(tmp_path, "unsaid")
    write(tmp_path, "odd", classifier(LOGITS), "hardmax", ["a", "b", "c"])
    with pytest.raises(BenchError, match="unknown head 'hardmax': expected one of softmax"):
        read_model(tmp_path, "odd")
