"""What scores are: found out by the export, told in its file, made probabilities by the server."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.models import checked as bench_checked
from crossrun_bench.models import proof as bench_proof
from crossrun_export import alternatives, heads, inference, pictures, price, proof, sources, verify
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.heads import Said
from crossrun_export.options import HeadKind, Limits, Localize
from crossrun_export.pipeline import Exported, export
from crossrun_export.told import told
from crossrun_server.proofs import comparison
from crossrun_server.proofs.proof_file import Proof
from tests.support.keras_models import headed, options, pixels
from tests.support.metadata import metadata
from tests.support.running import run_here, serving

layers, ops = keras.layers, keras.ops
Scores = NDArray[np.float32]


def softmax(logits: Scores) -> Scores:
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(logits: Scores) -> Scores:
    return np.asarray(1 / (1 + np.exp(-logits)))


def two(second: Scores) -> Scores:
    return np.concatenate([1 - second, second], axis=1)


def complement(features: Any) -> Any:
    second = layers.Dense(1, "sigmoid")(features)
    return layers.Concatenate()([1 - second, second])


def same(scores: Scores) -> Scores:
    return scores


# Name → the head of a model, what the caller says of it, what it is, its probabilities.
HEADS: dict[str, tuple[Callable[[Any], Any], HeadKind | None, HeadKind, Callable[..., Scores]]] = {
    "dense_softmax": (layers.Dense(3, "softmax"), None, "softmax", same),
    "softmax_layer": (lambda x: layers.Softmax()(layers.Dense(3)(x)), None, "softmax", same),
    "softmax_operation": (lambda x: ops.softmax(layers.Dense(3)(x)), None, "softmax", same),
    "temperature": (
        lambda x: layers.Softmax()(layers.Rescaling(0.1)(layers.Dense(3)(x))),
        None, "softmax", same,
    ),
    "complement": (complement, None, "softmax", same),
    "sigmoid": (layers.Dense(3, "sigmoid"), None, "sigmoid", same),
    "reshaped": (
        lambda x: layers.Reshape((3,))(ops.sigmoid(layers.Dense(3)(x))), None, "sigmoid", same,
    ),
    "one_sigmoid": (layers.Dense(1, "sigmoid"), None, "binary", two),
    "logits": (layers.Dense(3), "logits", "logits", softmax),
    "log_softmax": (layers.Dense(3, "log_softmax"), None, "logits", softmax),
    "sigmoid_logits": (layers.Dense(3), "sigmoid-logits", "sigmoid-logits", sigmoid),
    "one_logit": (
        layers.Dense(1), "binary-logits", "binary-logits", lambda x: two(sigmoid(x)),
    ),
}  # fmt: skip


def source_of(model: Any, labels: int = 0, loss: str = "") -> sources.Source:
    names = tuple("abcdefgh"[:labels])
    return sources.Source(model, names, "random", "0" * 64, pixels("0..1"), loss=loss)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def models(repository: Path) -> dict[str, tuple[Any, Exported]]:
    """A model of each head, exported."""
    found = {}
    for name, (head, asked, _, _) in HEADS.items():
        model = headed(head)
        source = source_of(model, max(model.output_shape[-1], 2))
        (one,) = export(source, options(repository, name=name, scores=asked))
        found[name] = model, one
    return found


@pytest.fixture(scope="module")
def served(
    models: dict[str, tuple[Any, Exported]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VisionStub]:
    (_, one), *_ = models.values()
    repository = one.version.parent.parent
    with (
        serving(repository, tmp_path_factory.mktemp("log") / "log", "--provider", "cpu") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield VisionStub(channel)


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", HEADS)
def test_classify_answers_the_probabilities_of_any_head(
    name: str, models: dict[str, tuple[Any, Exported]], served: VisionStub
) -> None:
    """What Keras says, made probabilities by hand, is what a client gets, class by class."""
    _, _, kind, probabilities = HEADS[name]
    model, one = models[name]
    drawn = pictures.drawn(source_of(model), 5, 6).stretched
    expected = probabilities(model.predict(drawn / np.float32(255), verbose=0))
    request = vision_pb2.ClassifyRequest(model=name, images=[png(x) for x in drawn], top_k=3)
    for row, result in zip(expected, served.Classify(request).results, strict=True):
        got = {found.index: found.score for found in result.classes}
        assert [got[i] for i in range(len(row))] == pytest.approx(row, abs=1e-5)
        assert [c.label for c in result.classes] == ["abc"[c.index] for c in result.classes]
        assert result.classes[0].index == row.argmax()
    found = metadata(one.version / "model.onnx")["scores"]
    assert found["head"] == kind
    assert found["output"] == ("logits" if kind.endswith("logits") else "probabilities")
    assert f"; scores are {kind}: {found['because']}" in told(one)


# --- What is refused -------------------------------------------------------------------------

NAMES = ("cat.jpg", "dog.jpg")
LINEAR = [[2.0, -1.0, 0.5], [11.26, 3.0, -2.0]]
BETWEEN = [[0.2, 0.3, 0.1], [0.9, 0.8, 0.7]]
CERTAIN = [[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]]


@pytest.mark.parametrize(
    ("tail", "scores", "asked", "expected"),
    [
        ("logits", LINEAR, None, "are from -2 to 11.3 on 2 pictures and are no probabilities; "
         "--scores says it: logits (a softmax is missing) or sigmoid-logits"),
        ("logits", BETWEEN, None, "and do not sum to 1; --scores says it: sigmoid (a prob"),
        ("logits", CERTAIN[1:] * 2, None, "on 2 pictures and the same for all; --scores says it: "
         "softmax (probabilities that sum to 1) or sigmoid (a probability for each class)"),
        ("one_logit", [[2.0], [-1.0]], None, "one score means cannot be told: from -1 to 2 on 2 "
         "pictures; --scores says it: binary-logits (of the second of two classes"),
        ("one_logit", [[0.2], [0.9]], None, "--scores says it: binary (the probability of"),
        ("logits", LINEAR, "softmax", "no softmax (--scores says so): those of cat.jpg are from"),
        ("logits", BETWEEN, "softmax", "(--scores says so): those of cat.jpg are from 0.1 to 0.3"),
        ("logits", [*BETWEEN[:1], LINEAR[1]], "sigmoid", "no sigmoid (--scores says so): those of"),
        ("logits", LINEAR, "binary-logits", "it gives 3 scores for a picture: expected one of sof"),
        ("one_logit", [[2.0], [-1.0]], "logits", "1 score for a picture: expected one of binary,"),
        ("logits", CERTAIN, "logits", "its scores sum to 1 on each of 2 pictures: expected softma"),
        ("dense_softmax", CERTAIN, "logits", "its last operation is Softmax: expected softmax"),
        ("dense_softmax", BETWEEN, None, "do not sum to 1; --scores says it: sigmoid"),
        ("sigmoid", BETWEEN, "softmax", "its last operation is Sigmoid: expected sigmoid"),
        ("one_sigmoid", [[0.2], [0.9]], "binary-logits", "last operation is Sigmoid: expected bin"),
        ("dense_softmax", [[1.0], [1.0]], None, "Softmax over one class, which gives the same wha"),
        ("logits", [LINEAR[0], [np.nan, 0, 0]], "logits", "a score of dog.jpg is no number"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_or_is_contradicted_is_refused(
    tail: str,
    scores: Any,
    asked: HeadKind | None,
    expected: str,
    models: dict[str, tuple[Any, Exported]],
) -> None:
    """One line: what was seen, on which picture, and what --scores may say."""
    made = models[tail][1].made
    with pytest.raises(ExportError) as caught:
        heads.find(made.model, made.head.output, np.array(scores, np.float32), NAMES, Said(asked))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sigmoids_that_happen_to_sum_to_1_are_taken_for_what_is_said(
    models: dict[str, tuple[Any, Exported]],
) -> None:
    """The scores of some pictures speak for a softmax, but not against sigmoids."""
    made, scores = models["logits"][1].made, np.array(CERTAIN, np.float32)
    found = heads.find(made.model, made.head.output, scores, NAMES, Said("sigmoid"))
    assert found == heads.Head("sigmoid", "--scores says so")


def test_probabilities_in_eight_bits_may_miss_the_sum() -> None:
    """Each of many is rounded by half a step: that is believed of a softmax in the graph alone."""
    value = onnx.helper.make_tensor_value_info
    taken = value("image", onnx.TensorProto.FLOAT, ["batch", 100])
    given = value("scores", onnx.TensorProto.FLOAT, ["batch", 100])
    rounded = np.full((2, 100), 0.85 / 100, np.float32)
    rounded[0, 0] += 0.1

    def find(kind: str, step: float) -> heads.Head:
        node = onnx.helper.make_node(kind, ["image"], ["scores"])
        model = onnx.helper.make_model(onnx.helper.make_graph([node], "head", [taken], [given]))
        return heads.find(model, "scores", rounded, ["a", "b"], Said(step=step))

    assert find("Softmax", 1 / 256).kind == "softmax"
    for kind, step in (("Softmax", 0.0), ("Identity", 1 / 256)):
        with pytest.raises(ExportError, match="what its scores mean cannot be told"):
            find(kind, step)


def test_a_refused_head_writes_nothing(tmp_path: Path) -> None:
    """The command ends with one line, and goes through once the option says what it asks for."""
    headed(layers.Dense(3)).save(tmp_path / "linear.keras")
    command = ["crossrun-export", "keras", str(tmp_path / "linear.keras"), "--pixels", "0..1"]
    command += ["--output", str(tmp_path / "models")]
    refused = run_here(command)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(
        "crossrun-export: what its scores mean cannot be told: they are from "
    )
    assert list((tmp_path / "models").iterdir()) == []
    done = run_here([*command, "--scores", "sigmoid-logits"])
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("; scores are sigmoid-logits: --scores says so\n")


def test_only_probabilities_can_be_localized(tmp_path: Path) -> None:
    """A detection's score is compared with min_score: logits would pass any."""
    source = source_of(headed(layers.Dense(3)), 3)
    asked = options(tmp_path / "models", localize=Localize(top_k=1, zoom=False), scores="logits")
    with pytest.raises(ExportError, match="--localize is for heads of softmax or sigmoid"):
        export(source, asked)


# --- How else it is told ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "loss", "kind"),
    [
        (3, keras.losses.SparseCategoricalCrossentropy(from_logits=True), "logits"),
        (3, keras.losses.BinaryCrossentropy(from_logits=True), "sigmoid-logits"),
        (1, keras.losses.BinaryCrossentropy(from_logits=True), "binary-logits"),
        (3, "categorical_crossentropy", None),  # says that they are probabilities; they are not
        (1, "mse", None),
    ],
)
def test_the_loss_a_model_was_trained_with_tells_its_logits(
    units: int, loss: Any, kind: HeadKind | None, tmp_path: Path
) -> None:
    """A file that was saved compiled says whether its loss took logits, and of which kind."""
    model = headed(layers.Dense(units))
    model.compile(loss=loss)
    model.save(tmp_path / "trained.keras")
    source = sources.keras_file(tmp_path / "trained.keras", "0..1", None)
    asked = options(tmp_path / "models", name="trained")
    if kind is None:
        with pytest.raises(ExportError, match="cannot be told"):
            export(source, asked)
        return
    (one,) = export(source, asked)
    assert one.made.head.kind == kind
    assert one.made.head.because == f"it was trained with {type(loss).__name__}(from_logits=True)"


# --- What such a head decides ----------------------------------------------------------------


def agreement(expected: Any, got: Any, kind: HeadKind) -> float:
    found, _ = verify.compare(np.array(expected, np.float32), np.array(got, np.float32), kind)
    return found.top1_agreement


def test_one_score_agrees_where_it_is_on_the_same_side() -> None:
    """Of one number the best is always the first; what counts is the class that it speaks for."""
    assert agreement([[0.6], [0.4]], [[0.9], [0.6]], "binary") == 0.5
    assert agreement([[0.3], [-0.2]], [[0.2], [0.2]], "binary-logits") == 0.5
    assert agreement([[0.5], [0.5]], [[0.51], [0.49]], "binary") == 1  # a tie may fall either way
    assert agreement([[0.0]], [[-0.1]], "binary-logits") == 1


def test_sigmoids_agree_where_the_same_classes_are_there() -> None:
    """The order among those that are there decides nothing; where none is, the best class does."""
    expected = [[0.9, 0.8, 0.1], [0.9, 0.8, 0.1], [0.2, 0.1, 0.3], [0.2, 0.1, 0.3]]
    got = [[0.8, 0.9, 0.1], [0.9, 0.4, 0.1], [0.1, 0.1, 0.4], [0.4, 0.1, 0.3]]
    assert agreement(expected, got, "sigmoid") == 0.5
    logits = np.log(np.array(expected)) - np.log1p(-np.array(expected))
    others = np.log(np.array(got)) - np.log1p(-np.array(got))
    assert agreement(logits, others, "sigmoid-logits") == 0.5


def test_top_1_of_one_score_counts_both_classes() -> None:
    """Labels 0 and 1 are both told by one score: under a half it says the first."""
    some = pictures.drawn(source_of(headed(layers.Dense(1, "sigmoid"))), 1, 4)
    labelled = replace(some, labels=np.array([0, 0, 1, 1]))
    right, wrong = np.array([[0.1], [0.2], [0.9], [0.8]]), np.array([[0.1], [0.7], [0.9], [0.8]])
    cost = price.price([right], [wrong], labelled, "binary")
    assert (cost.top1, cost.top1_change, cost.top1_agreement) == (0.75, -0.25, 0.75)
    assert cost.top5 is None


def test_one_logit_is_judged_by_its_sign_wherever_labels_are_held_against_it() -> None:
    """The check of the pixels' range decides at 0, too: at one half it would call 0.3 the first."""
    model = headed(layers.Dense(1))
    source = source_of(model)
    some = pictures.drawn(source, 5, 40)
    logits = inference.original_scores(source, some.stretched)
    model.layers[-1].bias.assign(0.25 - np.median(logits, axis=0))  # many lie from 0 to 0.5
    labels = (inference.original_scores(source, some.stretched)[:, 0] > 0).astype(np.int64)
    found = replace(some, labels=labels, hashes=some.names)  # as of files: drawn ones are redrawn
    seen = alternatives.compare(source, found, "binary-logits")
    assert seen is not None
    assert seen.shares["0..1"] == 1


def test_without_labels_the_confidence_of_logits_is_told() -> None:
    """The pixels' range is judged by probabilities, which logits are not yet."""
    model = headed(layers.Dense(3))
    source = source_of(model)
    some = pictures.drawn(source, 5, 20)
    seen = alternatives.compare(source, some, "logits")
    assert seen is not None
    expected = softmax(inference.original_scores(source, some.stretched)).max(axis=1).mean()
    assert seen.shares["0..1"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("name", "decides"), [("one_sigmoid", 0.5), ("one_logit", 0.0)])
def test_the_proof_says_where_one_score_decides(
    name: str, decides: float, models: dict[str, tuple[Any, Exported]]
) -> None:
    """Export, server and bench count the same answers as the same: those on one side of it."""
    with np.load(models[name][1].version / proof.FILE) as arrays:
        assert json.loads(str(arrays["about"]))["decides"] == decides
    expected, got = np.array([[0.3], [0.7], [-0.2]]), np.array([[0.6], [0.4], [0.1]])
    share = {0.5: 1 / 3, 0.0: 2 / 3}[decides]
    assert proof.agreement(expected, got, 0.01, decides) == pytest.approx(share)
    held = Proof({"x": expected}, {"y": expected}, "fp32", "drawn", {"y": 0.01}, 1.0, "y")
    found = comparison.compare(replace(held, decides=decides), range(3), {"y": got})
    assert found.agreement == pytest.approx(share)
    grey = np.zeros((3, 1, 1, 3), np.uint8)
    measured = bench_proof.Proof(grey, expected, "drawn", 0.01, 1.0, None, decides)
    assert bench_checked.compared(measured, got, None).agreement == pytest.approx(share)


def flipped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The other decision on every picture: 1 - p in the place of p, a difference without end."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    heads.rename(copy, "probabilities", "before")
    copy.graph.initializer.append(onnx.helper.make_tensor("all", onnx.TensorProto.FLOAT, [], [1]))
    copy.graph.node.append(onnx.helper.make_node("Sub", ["all", "before"], ["probabilities"]))
    (output,) = copy.graph.output
    output.name = "probabilities"
    return copy


def test_a_precision_that_turns_decisions_round_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One score that says the opposite of the original does not agree with it on 100 %."""
    monkeypatch.setattr("crossrun_export.half.to_fp16", flipped)
    source = source_of(headed(layers.Dense(1, "sigmoid")), 2)
    with pytest.raises(ExportError, match=r"fp16 agrees with the original on 0\.\d+%"):
        export(source, options(tmp_path / "models", precisions=("fp16",)))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("name", ["one_sigmoid", "logits", "sigmoid_logits"])
def test_reduced_precisions_have_the_head_of_the_original(
    name: str, models: dict[str, tuple[Any, Exported]], tmp_path: Path
) -> None:
    """int8 and fp16 give scores of the same kind under the same name, near the original's."""
    model, whole = models[name]
    _, asked, kind, _ = HEADS[name]
    source = source_of(model, max(model.output_shape[-1], 2))
    wanted: dict[str, Any] = {"precisions": ("int8", "fp16"), "scores": asked}
    made = export(source, options(tmp_path / "models", **wanted, limits=Limits(100, 0)))
    for one in made:
        scores = metadata(one.version / "model.onnx")["scores"]
        assert scores == metadata(whole.version / "model.onnx")["scores"]
        assert scores["head"] == kind
        assert one.made.cost.top1_agreement > 0.9
    calibration = metadata(made[0].version / "model.onnx")["calibration"]["agreement"]
    assert all(0.9 < share <= 1 for share in calibration.values())
