"""Which pixels a model takes: told by its graph or by its architecture, or refused in words."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossrun_export import scaling
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.preprocessing import assume
from tests.support.running import ROOT, Command

layers, ops, applications = keras.layers, keras.ops, keras.applications
Step = Callable[[Any], Any]
GREY = np.random.default_rng(1).normal(110, 60, (64, 8, 8, 3)).clip(0, 255).astype(np.float32)
BGR_MEAN = np.array([103.939, 116.779, 123.68], np.float32)


def head(image: Any) -> Any:
    features = layers.Conv2D(4, 3)(image)
    return layers.Dense(4, "softmax")(layers.GlobalAveragePooling2D()(features))


def model_of(entrance: Step, **options: Any) -> Any:
    image = keras.Input((16, 16, 3), **options)
    return keras.Model(image, head(entrance(image)))


def chain(*steps: Any, size: int = 16, name: str | None = None) -> Any:
    return keras.Sequential([keras.Input((size, size, 3)), *steps], name=name)


def ending(*steps: Any) -> list[Any]:
    return [*steps, layers.GlobalAveragePooling2D(), layers.Dense(4, "softmax")]


def adapted(pictures: Any, **options: Any) -> Any:
    layer = layers.Normalization(**options)
    layer.adapt(pictures)
    return layer


def nested(*steps: Any) -> Any:
    """Layers inside a functional model inside a Sequential."""
    image = keras.Input((16, 16, 3))
    value = image
    for step in (*steps, layers.Conv2D(4, 3)):
        value = step(value)
    backbone = keras.Model(image, value, name="backbone")
    return chain(chain(layers.RandomFlip(), backbone, name="front"), *ending())


def normed(mean: float, deviation: float) -> Any:
    """A batch norm first, with running statistics."""
    norm = layers.BatchNormalization()
    model = chain(norm, *ending(layers.Conv2D(4, 3)))
    norm.moving_mean.assign([mean] * 3)
    norm.moving_variance.assign([deviation**2] * 3)
    return model


def two_towers(one: Step, other: Step) -> Any:
    image = keras.Input((16, 16, 3))
    both = layers.Concatenate()([head(one(image)), head(other(image))])
    return keras.Model(image, layers.Dense(4, "softmax")(both))


def found(model: Any) -> str:
    return assume(model, None).scaling.name


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: nested(layers.Rescaling(1 / 127.5, -1)), "0..255"),
        (lambda: chain(chain(layers.Rescaling(1 / 255)), *ending(layers.Conv2D(4, 3))), "0..255"),
        (lambda: model_of(lambda x: x / 127.5 - 1), "0..255"),
        (lambda: model_of(lambda x: (x - 127.5) / 127.5), "0..255"),
        (lambda: model_of(lambda x: ops.multiply(ops.cast(x, "float32"), 1 / 256)), "0..255"),
        (lambda: model_of(applications.mobilenet.preprocess_input), "0..255"),
        (lambda: model_of(applications.densenet.preprocess_input), "0..255"),
        (lambda: model_of(applications.vgg16.preprocess_input), "0..255"),
        (lambda: model_of(lambda x: ops.flip(x, -1) - BGR_MEAN), "0..255"),
        (lambda: model_of(lambda x: x - BGR_MEAN[::-1]), "0..255"),
        (lambda: model_of(lambda x: x * 2 - 1), "0..1"),
        (lambda: model_of(lambda x: x - 0.5), "0..1"),
        (lambda: model_of(layers.Rescaling(255)), "0..1"),
        (lambda: model_of(lambda x: (x + 1) * 127.5), "-1..1"),
        (lambda: model_of(lambda x: ops.clip(x, 0, 1) * 2 - 1), "0..1"),
        (lambda: model_of(adapted(GREY)), "0..255"),
        (lambda: model_of(adapted(GREY / 255)), "0..1"),
        (lambda: model_of(adapted(GREY / 127.5 - 1)), "-1..1"),
        (lambda: model_of(adapted(GREY, axis=None)), "0..255"),
        (lambda: model_of(lambda x: ops.image.rgb_to_grayscale(x) / 255), "0..255"),
        (lambda: model_of(lambda x: ops.cast(x, "float32"), dtype="uint8"), "0..255"),
        (lambda: normed(115, 60), "0..255"),
        (lambda: normed(0.45, 0.25), "0..1"),
        (lambda: normed(-0.1, 0.5), "-1..1"),
        (lambda: chain(layers.Flatten(), layers.Rescaling(1 / 255), layers.Dense(4)), "0..255"),
        (lambda: two_towers(lambda x: x / 255, layers.Rescaling(1 / 255)), "0..255"),
        (lambda: two_towers(lambda x: x / 255, lambda x: x / 127.5 - 1), "0..255"),
    ],
)  # fmt: skip
def test_what_the_graph_does_first_tells_the_range(model: Callable[[], Any], expected: str) -> None:
    """Nested or flat, as layers or operations, by constants or by statistics: all is followed."""
    assert found(model()) == expected


def test_what_augments_pads_or_resizes_is_passed() -> None:
    """At inference augmentation does nothing, and pads and sizes are no scaling."""
    before = (layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomBrightness(0.5))
    between = (layers.GaussianNoise(0.5), layers.Dropout(0.5), layers.Resizing(12, 20))
    after = (layers.ZeroPadding2D(2), layers.CenterCrop(10, 10), layers.Conv2D(4, 3))
    model = chain(*before, *between, layers.Rescaling(1 / 255), *ending(*after))
    assert assume(model, None).because == "Rescaling makes 0..1 of them"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: model_of(lambda x: x), "does not scale pixels by itself"),
        (lambda: chain(*ending(layers.Conv2D(4, 3)), layers.Rescaling(0.5)), "does not scale"),
        (lambda: model_of(layers.Normalization(mean=0.0, variance=1.0)), "does not scale"),
        (lambda: normed(0, 1), "does not scale"),
        (lambda: model_of(lambda x: x[..., ::-1] / 255), "whether it takes RGB or BGR"),
        (lambda: model_of(lambda x: x - BGR_MEAN), "whether it takes RGB or BGR"),
        (lambda: nested(layers.Rescaling(1 / 255), layers.Rescaling(1 / 255)), "makes 0..0.0039"),
        (lambda: model_of(lambda x: x * 0.5), "tells no range"),
        (lambda: model_of(lambda x: x * x), "that is not scaling"),
        (lambda: model_of(lambda x: x - ops.mean(x, (1, 2), keepdims=True)), "not scaling"),
        (lambda: two_towers(lambda x: x / 255, lambda x: x * 2 - 1), "in several ways"),
        (lambda: two_towers(lambda x: x / 255, lambda x: x), "in several ways"),
        (lambda: chain(layers.GlobalAveragePooling2D(), layers.Softmax()), "has no weights"),
    ],
)
def test_what_cannot_be_told_is_refused(model: Callable[[], Any], reason: str) -> None:
    """With the reason, and with all that --pixels can say."""
    with pytest.raises(ExportError, match=re.escape(reason)) as refused:
        assume(model(), None)
    assert "--pixels: 0..255, 0..1, -1..1, torch, caffe" in str(refused.value)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_followed_too(policy: str) -> None:
    """Rounded constants are still the usual ones."""
    rescaling = layers.Rescaling(1 / 127.5, -1, dtype=policy)
    assert found(chain(rescaling, *ending(layers.Conv2D(4, 3, dtype=policy)))) == "0..255"


# --- Applications ----------------------------------------------------------------------------

SMALL = (64, 64, 3)
LEAST = {"Xception": (71, 71, 3), "InceptionV3": (75, 75, 3), "InceptionResNetV2": (75, 75, 3)}
FAMILIES = {
    "MobileNet": "mobilenet",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3Small": "mobilenet_v3",
    "EfficientNetB0": "efficientnet",
    "EfficientNetV2B0": "efficientnet_v2",
    "ResNet50": "resnet",
    "ResNet50V2": "resnet_v2",
    "VGG16": "vgg16",
    "DenseNet121": "densenet",
    "InceptionV3": "inception_v3",
    "InceptionResNetV2": "inception_resnet_v2",
    "Xception": "xception",
    "NASNetMobile": "nasnet",
    "ConvNeXtTiny": "convnext",
}


def build(function: str, **options: Any) -> Any:
    shape = LEAST.get(function, SMALL)
    make = getattr(applications, function)
    if function == "NASNetMobile":  # of its 769 layers a third
        options |= {"num_blocks": 1, "penultimate_filters": 1056, "default_size": 224}
        make = sys.modules[make.__module__].NASNet
    return make(input_shape=shape, weights=None, include_top=False, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_applications_get_what_their_own_preprocessing_makes(name: str) -> None:
    """With any name, inside another model, the pixels are those of its `preprocess_input`."""
    core = build(name) if name.startswith("EfficientNetV2") else build(name, name="mine")
    size = core.input_shape[1]
    model = chain(layers.RandomFlip(), core, *ending(), size=size)
    pixels = np.random.default_rng(3).integers(0, 256, (2, 4, 4, 3), np.uint8)
    expected = getattr(applications, FAMILIES[name]).preprocess_input(pixels.astype(np.float32))
    assert assume(model, None).scaling.apply(pixels) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("MobileNetV3Small", "-1..1"), ("EfficientNetV2S", "-1..1"), ("ConvNeXtTiny", "torch")],
)
def test_applications_without_their_own_scaling_are_known(name: str, expected: str) -> None:
    """include_preprocessing=False: nothing scales, and the range is that of what was left out."""
    assert found(build(name, include_preprocessing=False)) == expected


def test_an_application_whose_range_is_unclear_is_refused() -> None:
    """EfficientNetV2 B without its layers: Keras's documentation and these layers disagree."""
    with pytest.raises(ExportError, match="EfficientNetV2 B without the layers that scale"):
        assume(build("EfficientNetV2B0", include_preprocessing=False), None)


def test_an_application_is_known_by_its_parts_not_by_its_name() -> None:
    """Its layers in a chain, or its first half, are known; a net that borrows names is not."""
    core = build("MobileNetV2", alpha=0.35)
    flat = build("MobileNet", alpha=0.25).layers[1:]
    assert found(chain(*flat, *ending(), size=64)) == "-1..1"
    half = keras.Model(core.input, head(core.get_layer("block_3_expand").output))
    assert found(half) == "-1..1"
    own = layers.Conv2D(8, 3, strides=2, name="conv1")
    with pytest.raises(ExportError, match="no network of Keras's own"):
        assume(chain(own, *ending(), name="mobilenet_1.00_224"), None)


def test_what_stands_before_an_application_counts_more() -> None:
    """Whoever put a Rescaling before MobileNet has it take 0..255, or 0..1."""
    core = build("MobileNet", alpha=0.25)
    for step, expected in (
        (layers.Rescaling(1 / 127.5, -1), "0..255"),
        (layers.Rescaling(1 / 255), "0..255"),
        (layers.Rescaling(2, -1), "0..1"),
    ):
        assert found(chain(step, core, *ending(), size=64)) == expected


def test_the_page_names_every_application() -> None:
    """Each function of keras.applications has its row, with pixels that its own module makes."""
    page = (ROOT / "docs" / "export-assumptions.md").read_text()
    lines = page.splitlines()
    rows = {line.split("`")[1]: line for line in lines if re.match(r"\| `\w+` \|", line)}
    functions = {name for name in dir(applications) if name[0].isupper()}
    assert functions <= rows.keys()
    assert all("| yes |" in rows[name] for name in functions)


# --- --pixels --------------------------------------------------------------------------------


def test_pixels_can_be_said_in_numbers() -> None:
    """One number for all channels, or three with slashes; BGR if it is said."""
    one = scaling.parse("scale=0.5,offset=-1")
    assert (one.scale, one.offset, one.color) == ((0.5,) * 3, (-1.0,) * 3, "RGB")
    three = scaling.parse("color=BGR,offset=-103.9/-116.8/-123.7,scale=1")
    assert (three.scale, three.color) == ((1.0, 1.0, 1.0), "BGR")
    pixels = np.array([[[200, 100, 50]]], np.uint8)
    assert three.apply(pixels).ravel() == pytest.approx([50 - 103.9, 100 - 116.8, 200 - 123.7])


@pytest.mark.parametrize(
    "text",
    ["0-255", "", "scale=1", "scale=1,offset=0/1", "scale=0,offset=0", "scale=nan,offset=0",
     "scale=1,scale=2,offset=0", "scale=1,offset=x", "scale=1,offset=0,gamma=2",
     "scale=1,offset=0,color=GBR"],
)  # fmt: skip
def test_pixels_that_make_no_sense_are_refused(text: str) -> None:
    """With what was said, and with all that can be."""
    with pytest.raises(ExportError, match=re.escape(f"--pixels {text!r}: expected 0..255, 0..1")):
        scaling.parse(text)


def test_pixels_are_checked_before_tensorflow_is_loaded(tmp_path: Path, run: Command) -> None:
    """One line, though the model's file is not even there."""
    ended = run("crossrun-export", "keras", "none.keras", "--output", tmp_path, "--pixels", "1..2")
    assert ended.returncode == 1
    assert ended.stderr.startswith("crossrun-export: --pixels '1..2': expected 0..255, 0..1, -1..1")


def test_pixels_against_what_the_graph_tells_are_taken_aloud() -> None:
    """Somebody may know better; what speaks against it is said."""
    model = model_of(layers.Rescaling(1 / 255))
    said = assume(model, "-1..1")
    assert said.scaling.name == "-1..1"
    assert said.because == "asked for, though 0..255 is expected: Rescaling makes 0..1 of them"
    assert assume(model_of(lambda x: x), "torch").because == "asked for"
