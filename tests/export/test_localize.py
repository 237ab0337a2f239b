"""Boxes from a plain classifier: the map, its largest region, the proof that both are right."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_export import inference, localize, runtime, scenes, sources
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.localize import graph
from crossrun_export.localize.corloc import overlap
from crossrun_export.localize.dilate import dilated
from crossrun_export.options import InputDtype, Localize
from crossrun_export.pipeline import export
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from tests.support.keras_models import options, pixels
from tests.support.metadata import metadata
from tests.support.proofs import forget_checksum, load, refusal
from tests.support.running import ON_CPU, serving

HEAT = graph.HEAT
FAST = Localize(zoom=False)
FAST_THREE = Localize(top_k=3, zoom=False)

Pixels = NDArray[np.uint8]
layers = keras.layers


@pytest.fixture(scope="module")
def bundled() -> sources.Source:
    return sources.mobilenet(None, None, "bundled", None)


@pytest.fixture(scope="module")
def exported(bundled: sources.Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model's localizer, without a second look, in a repository; to be looked at."""
    output = tmp_path_factory.mktemp("localizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossrun_export.localize.corloc.PICTURES", 200)
        (one,) = export(bundled, options(output, localize=FAST))
    return one.version


@pytest.fixture(scope="module")
def glass() -> sources.Source:
    """A classifier that sees the picture itself: how red, how green, how blue it is."""
    image = keras.Input((HEAT, HEAT, 3))
    scores = layers.Dense(3, "softmax", kernel_initializer="identity")(
        layers.GlobalAveragePooling2D()(image)
    )
    model = keras.Model(image, scores)
    return sources.Source(model, ("red", "green", "blue"), "none", "0" * 64, pixels("0..1"))


def red(masks: NDArray[np.bool_]) -> Pixels:
    """Pictures that are red where the masks hold."""
    pixels = np.zeros((*masks.shape, 3), np.uint8)
    pixels[masks, 0] = 255
    return pixels


def spiral() -> NDArray[np.bool_]:
    """One arm, a cell wide, that winds from the rim to the middle with a cell between its turns."""
    mask = np.zeros((HEAT, HEAT), bool)
    y, x, step = 0, 0, (0, 1)
    mask[0, 0] = True
    for length in [HEAT - 1, *(side for n in range(HEAT - 1, 0, -2) for side in (n, n))]:
        for _ in range(length):
            y, x = y + step[0], x + step[1]
            mask[y, x] = True
        step = (step[1], -step[0])
    return mask


def largest(mask: NDArray[np.bool_]) -> list[tuple[float, ...]]:
    """The boxes of the largest regions of a mask, several where they are equally large."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(labels[mask])
    found = ndimage.find_objects(labels)
    best = [found[label - 1] for label in np.flatnonzero(areas == areas.max())]
    return [(r.start / HEAT, c.start / HEAT, r.stop / HEAT, c.stop / HEAT) for r, c in best]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_box_is_that_of_the_largest_region(glass: sources.Source, dtype: InputDtype) -> None:
    """Whatever its shape, a spiral and its counterpart included, as another library finds it."""
    rng = np.random.default_rng(5)
    random = [rng.random((HEAT, HEAT)) < share for share in (0.05, 0.2, 0.3, 0.35, 0.4, 0.6)]
    masks = np.stack([*random, spiral(), ~spiral()])
    model = graph.to_onnx(glass, localize.localizer(glass, FAST_THREE), dtype)
    found = runtime.outputs(model, inference.inputs_of(glass, red(masks), dtype))
    assert (found["detection_classes"][:, 0] == 0).all()
    assert np.array_equal(found["heat_maps"][:, 0] > 0.5, masks)
    for mask, box in zip(masks, found["detection_boxes"][:, 0], strict=True):
        assert any(np.allclose(box, one, rtol=0, atol=1e-6) for one in largest(mask))


def test_a_map_without_a_peak_is_the_whole_picture(glass: sources.Source) -> None:
    """Where every cell says the same, the box leaves nothing out, and nothing is NaN."""
    model = graph.to_onnx(glass, localize.localizer(glass, FAST_THREE), "uint8")
    found = runtime.outputs(model, np.zeros((1, HEAT, HEAT, 3), np.uint8))
    assert np.array_equal(found["detection_boxes"], np.tile([0, 0, 1, 1], (1, 3, 1)))
    assert np.array_equal(found["heat_maps"], np.zeros((1, 3, HEAT, HEAT)))


def test_the_outputs_are_those_of_a_detector(exported: Path) -> None:
    """Probabilities first, as before; five detections, best first; every number of pictures."""
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    pixels, _ = scenes.batch(8, 0, 3, 96)
    names = [node.name for node in session.get_outputs()]
    whole = dict(zip(names, session.run(None, {"image": pixels}), strict=True))
    alone = session.run(None, {"image": pixels[2:]})
    assert names[0] == "probabilities"
    assert {name: (value.shape, str(value.dtype)) for name, value in whole.items()} == {
        "probabilities": ((3, 10), "float32"),
        "detection_boxes": ((3, 5, 4), "float32"),
        "detection_scores": ((3, 5), "float32"),
        "detection_classes": ((3, 5), "int64"),
        "num_detections": ((3,), "int32"),
        "heat_maps": ((3, 5, HEAT, HEAT), "float32"),
    }
    for value, one in zip(whole.values(), alone, strict=True):
        np.testing.assert_allclose(value[2:], one, atol=1e-5)
    assert (whole["heat_maps"].min(axis=(2, 3)) == 0).all()
    assert (whole["heat_maps"].max(axis=(2, 3)) == 1).all()


def test_the_server_takes_the_config(exported: Path) -> None:
    """config.pbtxt says of the outputs what the file says, and where labels belong."""
    text = (exported.parent / "config.pbtxt").read_text()
    assert text.count('label_filename: "labels.txt"') == 2
    (model,) = loader.load(ModelSource(exported.parent), ON_CPU).models.values()
    assert model.outputs["detection_boxes"].shape == (-1, 5, 4)
    assert model.outputs["detection_classes"].datatype == "INT64"
    model.close()


def test_the_server_finds_what_the_file_says(exported: Path, tmp_path: Path) -> None:
    """Detect gives the best class of an encoded picture, its score, and its box in pixels."""
    scene = scenes.draw(8, 0, 192)
    picture = Image.fromarray(scene.pixels)
    png = io.BytesIO()
    picture.save(png, "PNG")
    small = np.asarray(picture.resize((96, 96), Image.Resampling.BILINEAR))
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    boxes, scores = session.run(["detection_boxes", "detection_scores"], {"image": small[None]})
    with (
        serving(exported.parent.parent, tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        request = vision_pb2.DetectRequest(model="mobilenet", images=[png.getvalue()])
        (found,) = VisionStub(channel).Detect(request, timeout=60).results
    first = found.detections[0]
    assert first.label == scenes.CLASSES[scene.label]
    assert first.score == pytest.approx(scores[0, 0], abs=0.02)
    box = [first.box.ymin, first.box.xmin, first.box.ymax, first.box.xmax]
    np.testing.assert_allclose(box, 192 * boxes[0, 0], atol=2 * 192 / HEAT)


def test_the_file_says_how_good_the_boxes_are(exported: Path) -> None:
    """The share of good boxes on pictures of the held-out series, measured, is in the metadata."""
    found = metadata(exported / "model.onnx")["localization"]
    assert (found["pictures"], found["seed"]) == (200, 1_000_003)
    assert 0.6 < found["top1"] <= found["corloc"] < 0.8


def test_a_second_look_gives_better_boxes(
    bundled: sources.Source, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map of the picture at twice the size, added, brings several points of CorLoc."""
    monkeypatch.setattr("crossrun_export.localize.corloc.PICTURES", 200)
    parts = localize.localizer(bundled, Localize())
    model = localize.to_onnx(bundled, parts, "uint8")
    pixels, _ = scenes.batch(8, 0, 9, 96)
    found = runtime.outputs(model, pixels)
    assert localize.check(parts, inference.inputs_of(bundled, pixels, "float32"), found) < 1e-4
    better = localize.measure(bundled, model, "uint8")
    assert better
    before = metadata(exported / "model.onnx")["localization"]
    assert better.corloc > before["corloc"] + 0.03


def test_the_map_is_finer_and_the_scores_are_the_same(bundled: sources.Source) -> None:
    """Of the dilated network's cells each second is one of the classifier's."""
    pooling = next(one for one in bundled.model.layers if "pooling" in one.name)
    features = keras.Model(bundled.model.input, pooling.input)
    finer, rate = dilated(features)
    pixels, _ = scenes.batch(8, 0, 4, 96)
    image = inference.inputs_of(bundled, pixels, "float32")
    own, other = np.array(features(image)), np.array(finer(image))
    assert (rate, own.shape, other.shape) == (2, (4, 3, 3, 256), (4, 6, 6, 256))
    np.testing.assert_allclose(other[:, ::2, ::2], own, atol=1e-4)


def _same(image: Any) -> Any:
    return layers.Conv2D(4, 3, strides=2, padding="same")(image)


def _gated(image: Any) -> Any:
    strided = layers.Conv2D(4, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(image))
    mean = layers.GlobalAveragePooling2D(keepdims=True)(strided)
    return layers.Multiply()([strided, layers.Conv2D(4, 1, activation="sigmoid")(mean)])


@pytest.mark.parametrize("features", [_same, _gated])
def test_what_cannot_be_dilated_keeps_its_map(features: Callable[[Any], Any]) -> None:
    """Padding inside the convolution, or a mean over all cells after it, leave it as it is."""
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, features(image))
    assert dilated(network) == (network, 1)


def _flat(image: Any) -> Any:
    return layers.Dense(3, "softmax")(layers.Flatten()(image))


def _deep(image: Any) -> Any:
    hidden = layers.Dense(8, "relu")(layers.GlobalAveragePooling2D()(image))
    return layers.Dense(3, "softmax")(hidden)


@pytest.mark.parametrize("end", [_flat, _deep])
def test_a_classifier_with_another_end_is_refused(
    end: Callable[[Any], Any], tmp_path: Path
) -> None:
    """Only pooling and one layer of weights say where; the message names what was expected."""
    image = keras.Input((32, 32, 3))
    source = sources.Source(keras.Model(image, end(image)), (), "none", "0" * 64, pixels("0..255"))
    with pytest.raises(ExportError, match="expected an end of global average pooling and one"):
        export(source, options(tmp_path, localize=FAST_THREE))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"localize": Localize(top_k=4)}, "--top-k 4 of a model of 3 classes"),
        ({"localize": FAST_THREE, "precisions": ("fp32", "fp16")}, "--localize is for fp32 only"),
    ],
)
def test_what_cannot_be_had_is_refused(
    glass: sources.Source, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """More classes than there are, or another precision."""
    with pytest.raises(ExportError, match=message):
        export(glass, options(tmp_path, **changes))


def test_the_server_holds_scores_and_heat_maps_to_the_proof(exported: Path, tmp_path: Path) -> None:
    """Maps that are off are refused, though all scores are right."""
    name = exported.parent.name
    (found, *_) = load(exported.parent.parent, name=name)
    assert found.difference is not None
    assert found.difference < 1e-3
    wrong = tmp_path / name
    shutil.copytree(exported.parent, wrong)
    model = onnx.load(exported / "model.onnx")
    (maker,) = (node for node in model.graph.node if "heat_maps" in node.output)
    maker.output[list(maker.output).index("heat_maps")] = "as_it_was"
    amount = onnx.helper.make_tensor("amount", onnx.TensorProto.FLOAT, [], [0.01])
    model.graph.initializer.append(amount)
    for node in model.graph.node:
        node.input[:] = ["as_it_was" if one == "heat_maps" else one for one in node.input]
    model.graph.node.append(onnx.helper.make_node("Add", ["as_it_was", "amount"], ["heat_maps"]))
    onnx.save(model, wrong / "1" / "model.onnx")
    forget_checksum(wrong / "1")
    assert "is off by 0.01 in 'heat_maps' from the original" in refusal(tmp_path, name=name)


def _askew(look: Any) -> Any:
    return np.roll(spread(look), 1, axis=0)


spread = graph._spread
WORST = graph.CHOICE.replace("TopK", "TopK <largest = 0>")
SMALL_STEPS = graph.REGIONS.replace("[3, 3], pads = [1, 1, 1, 1]", "[1, 1]")


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"_spread": _askew}, "the heat maps differ by up to"),
        ({"REGIONS": SMALL_STEPS}, "the boxes are not those of the largest regions"),
        ({"CHOICE": WORST}, "the classes that get boxes are not those with the best scores"),
    ],
)
def test_a_localizer_that_says_something_else_is_not_written(
    glass: sources.Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: dict[str, Any],
    message: str,
) -> None:
    """Maps that are moved, regions that do not grow, the worst classes: each is found out."""
    for name, fault in faults.items():
        monkeypatch.setattr(graph, name, fault)
    with pytest.raises(ExportError, match=message):
        export(glass, options(tmp_path, localize=FAST_THREE))
    assert not list(tmp_path.iterdir())


def test_overlap_is_intersection_over_union() -> None:
    """Apart it is 0, the same 1, half of one in the other a third."""
    box = np.array([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0.5, 1, 1.5]])
    others = np.array([[2.0, 2, 3, 3], [0, 0, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_allclose(overlap(box, others), [0, 1, 1 / 3])
