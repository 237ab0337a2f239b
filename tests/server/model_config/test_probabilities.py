"""Scores of any ONNX classifier through Classify: what they are is told, tells, or is refused."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from grpc import StatusCode
from onnx import TensorProto as Tp
from onnx import helper

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server.errors import InvalidRequest, LoadError
from crossrun_server.model_config.probabilities import doubts, probabilities
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.tensors.tensor_spec import TensorSpec
from tests.support import models
from tests.support.classifiers import FIRST, LOGITS, classifier, config, node
from tests.support.pictures import plain
from tests.support.requests import refusal
from tests.support.running import ON_CPU, serving

RED_GREEN_BLUE = ["red", "green", "blue"]


SOFTMAX = node("Softmax", "x", axis=1)
SIGMOID = node("Sigmoid", "x")


def write(root: Path, name: str, model: onnx.ModelProto, text: str, labels: list[str]) -> Path:
    models.write(root, name, model, text, labels or None)
    return root / name


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classifiers of all kinds, none of which says in its file what its scores are."""
    root = tmp_path_factory.mktemp("foreign")
    two, three = ["dull", "red"], RED_GREEN_BLUE
    one_logit = node("Identity", "one")
    for name, nodes, parameters, labels in (
        ("softmax", [SOFTMAX], [], three),
        ("logits", [LOGITS], [("scores", "logits")], three),
        ("sigmoid", [SIGMOID], [("scores", "sigmoid")], three),
        ("sigmoid_logits", [LOGITS], [("scores", "sigmoid-logits")], three),
        ("binary", [FIRST, node("Sigmoid", "one")], [("scores", "binary")], two),
        ("binary_logits", [FIRST, one_logit], [("scores", "binary-logits")], two),
        ("unsaid", [LOGITS], [], three),
        ("unsaid_sigmoid", [SIGMOID], [], three),
        ("unsaid_sum", [node("Abs", "x")], [], three),
        ("wrong_softmax", [SIGMOID], [("scores", "softmax")], three),
        ("wrong_sigmoid", [LOGITS], [("scores", "sigmoid")], three),
    ):
        width = 1 if name.startswith("binary") else 3
        write(root, name, classifier(*nodes, width=width), config(*parameters), labels)
    single = classifier(FIRST, node("Sigmoid", "one"), width=1)
    write(root, "unsaid_one", single, "max_batch_size: 4\n" + models.ONE_AT_A_TIME, [])
    for name, kind, element in (("half", "FP16", Tp.FLOAT16), ("double", "FP64", Tp.DOUBLE)):
        cast = helper.make_node("Cast", ["found"], ["scores"], to=element)
        model = classifier(node("Softmax", "x", to="found", axis=1), cast, kind=element)
        write(root, name, model, config(kind=kind), three)
    beside = classifier(SOFTMAX, other=True)
    chosen = config(("scores.output", "scores"), labels=False)
    for name, text in (
        ("beside", config()), ("beside_unsaid", config(labels=False)), ("beside_chosen", chosen),
    ):  # fmt: skip
        write(root, name, beside, text, three)
    return root


@pytest.fixture(scope="module")
def stub(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisionStub]:
    log = tmp_path_factory.mktemp("log") / "log"
    with (
        serving(repository, log, "--provider", "cpu") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield VisionStub(channel)


def classes(stub: VisionStub, model: str, **options: Any) -> dict[str, float]:
    """What a picture whose `x` is X shows, by label, best first."""
    request = pb.ClassifyRequest(model=model, images=[plain(*PIXELS)], **options)
    return {c.label: c.score for c in stub.Classify(request).results[0].classes}


PIXELS = (229, 102, 178)
X = (np.array(PIXELS) - 127.5) / 25.5  # 3.98, -1, 1.98
POWERS = np.exp(X) / np.exp(X).sum()
EACH = 1 / (1 + np.exp(-X))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("softmax", POWERS),
        ("logits", POWERS),
        ("sigmoid", EACH),
        ("sigmoid_logits", EACH),
        ("binary", np.array([1 - EACH[0], EACH[0]])),
        ("binary_logits", np.array([1 - EACH[0], EACH[0]])),
        ("double", POWERS),
        ("beside", POWERS),
    ],
)
def test_scores_become_what_config_pbtxt_says(model: str, expected: Any, stub: VisionStub) -> None:
    """Each class gets its probability, and the best comes first."""
    labels = RED_GREEN_BLUE if len(expected) == 3 else ["dull", "red"]
    found = classes(stub, model)
    assert found == pytest.approx(dict(zip(labels, expected, strict=True)), abs=1e-6)
    assert next(iter(found)) == "red"


def test_half_precision_scores_are_classified(stub: VisionStub) -> None:
    """FP16 probabilities, whose sum is rounded, are probabilities all the same."""
    found = classes(stub, "half")
    assert [found[label] for label in RED_GREEN_BLUE] == pytest.approx(POWERS, abs=1e-3)


def test_min_score_is_held_against_probabilities(stub: VisionStub) -> None:
    """A logit of 1.98 is over any limit; its probability of 0.12 is not over 0.5."""
    assert list(classes(stub, "logits", min_score=0.5)) == ["red"]
    assert list(classes(stub, "binary_logits", min_score=0.5)) == ["red"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "unsaid",
            "'unsaid': nothing tells what its scores are: those of its first run were from -5 to "
            "-5, their sum -15; ",
        ),
        ("unsaid_sigmoid", "'unsaid_sigmoid': nothing tells what its scores are: those of its "),
        ("unsaid_one", "nothing tells what one score for a picture means; "),
        ("wrong_softmax", "images[0]: its scores are not 'softmax': they sum to 2.129, expected 1"),
        ("wrong_sigmoid", "images[0]: its scores are not 'sigmoid': from -1 to 3.98, expected"),
        (
            "beside_unsaid",
            "'beside_unsaid' has several outputs that may be scores: embedding, scores; "
            "parameters 'scores.output' in config.pbtxt says which",
        ),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_parameter_that_says_it(
    model: str, expected: str, stub: VisionStub
) -> None:
    """Never a guess: INVALID_ARGUMENT with what was seen and what settles it."""
    code, details = refusal(lambda: classes(stub, model))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith(expected)
    if model.startswith("unsaid"):
        assert details.endswith(
            "parameters 'scores' in config.pbtxt says it: one of softmax, sigmoid, binary, logits, "
            "sigmoid-logits, binary-logits"
        )


def test_scores_that_sum_to_1_by_chance_are_no_probabilities(stub: VisionStub) -> None:
    """Those of the first run tell that a model gives something else, for every picture."""
    chance = pb.ClassifyRequest(model="unsaid_sum", images=[plain(138, 135, 135)])  # 0.41, 0.29 …
    code, details = refusal(lambda: stub.Classify(chance))
    assert code == StatusCode.INVALID_ARGUMENT
    assert "those of its first run were from 5 to 5, their sum 15; parameters 'scores'" in details


def test_each_picture_has_to_tell_where_nobody_says_it() -> None:
    """The first run may have summed to 1 by chance."""
    expected = r"images\[1\]: nothing tells what its scores are: from -1 to 3, their sum 2; "
    with pytest.raises(InvalidRequest, match=expected):
        probabilities(np.array([[0.5, 0.5], [-1, 3]]), None)


@pytest.mark.parametrize("nothing", [np.nan, np.inf, 0.0])
def test_a_first_run_without_numbers_says_nothing(nothing: float) -> None:
    """A model may divide a black picture by its sum."""
    answers = {"scores": np.array([[nothing, 0.0]]), "logits": np.array([[2.0, 3.0]])}
    specs = [TensorSpec(name, "FP32", (-1, 2)) for name in answers]
    assert list(doubts(specs, answers)) == ["logits"]


def test_of_several_outputs_the_one_that_is_named_has_the_scores(stub: VisionStub) -> None:
    """The parameter names it where no label file does; without labels classes are numbers."""
    found = classes(stub, "beside_chosen")
    assert found == pytest.approx(dict(zip("012", POWERS, strict=True)), abs=1e-6)


def _load(folder: Path) -> None:
    for model in loader.load(ModelSource(folder), ON_CPU).models.values():
        model.close()


def _says(head: str, **more: str) -> Callable[[onnx.ModelProto], None]:
    said = {"crossrun.scores": json.dumps({"head": head, **more})}
    return lambda model: onnx.helper.set_model_props(model, said)


def _silent(_: onnx.ModelProto) -> None:
    """A file that says nothing of itself."""


@pytest.mark.parametrize(
    ("parameters", "labels", "says", "expected"),
    [
        ([("scores", "soft")], 3, _silent, "'scores' is 'soft', expected one of softmax, sigmoid"),
        ([("scores.output", "x")], 3, _silent, "'scores.output' is 'x', expected an output of"),
        ([("scores", "logits")], 3, _says("softmax"), "metadata crossrun.scores says 'softmax'"),
        ([], 3, _says("hardmax"), "crossrun.scores has the head 'hardmax', expected one of"),
        ([], 3, _says("binary"), "output 'scores' has 3 scores, which are not 'binary'"),
        ([], 3, _says("softmax", output="y"), "the model has no output 'y' of FP16, FP32, FP64"),
        ([("scores", "binary")], 1, _silent, "for two classes; expected 2 labels, got 1"),
        ([], 3, _says("softmax", output="y"), "reshape in config.pbtxt gives this shape to an"),
    ],
)  # fmt: skip
def test_what_contradicts_the_model_stops_the_load(
    parameters: list[tuple[str, str]],
    labels: int,
    says: Callable[[onnx.ModelProto], None],
    expected: str,
    tmp_path: Path,
) -> None:
    """An unknown kind, an output that is none, a file that says another thing, labels too few."""
    one = bool(parameters) and parameters[0][1] == "binary"
    model = classifier(FIRST, node("Sigmoid", "one"), width=1) if one else classifier(SOFTMAX)
    says(model)
    folder = write(tmp_path, "m", model, config(*parameters), RED_GREEN_BLUE[:labels])
    with pytest.raises(LoadError, match=expected.replace("(", r"\(")):
        _load(folder)


def test_what_the_file_says_of_itself_is_enough(tmp_path: Path) -> None:
    """Metadata names the head and the output; config.pbtxt need not, and may say the same."""
    for name, parameters in (("silent", []), ("same", [("scores", "logits")])):
        model = classifier(LOGITS, other=True)
        _says("logits", output="scores")(model)
        folder = write(tmp_path, name, model, config(*parameters, labels=False), [])
        (loaded,) = loader.load(ModelSource(folder), ON_CPU).models.values()
        assert (loaded.config.scores.head, loaded.config.scores.output) == ("logits", "scores")
        loaded.close()


def test_logits_of_any_size_become_probabilities() -> None:
    """Nothing overflows, and what is no number is no probability."""
    huge = np.array([[1000.0, -1000.0, 999.0]], np.float32)
    assert probabilities(huge, "logits")[0] == pytest.approx([0.7310586, 0, 0.2689414])
    assert probabilities(huge, "sigmoid-logits").tolist() == [[1, 0, 1]]
    sure = probabilities(np.array([[-40.0], [40.0]], np.float32), "binary-logits")
    assert sure[0, 1] == sure[1, 0] == pytest.approx(np.exp(-40.0), rel=1e-6)
    for wrong in (np.nan, np.inf):
        with pytest.raises(InvalidRequest, match=r"images\[0\]: its scores are not 'logits'"):
            probabilities(np.array([[wrong, 0.0]], np.float32), "logits")
