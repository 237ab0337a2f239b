"""Keras files that are no plain graph in float32: what is done about each, or said of it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossrun_export import dtypes, inference, loading, sources
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Loading, Tolerance
from crossrun_export.pipeline import Exported, export
from crossrun_export.told import told
from crossrun_server.models import loader
from tests.support.keras_models import headed, options, pixels
from tests.support.metadata import metadata
from tests.support.running import ON_CPU, run_here

layers = keras.layers
PLAIN = Loading()
PIXELS = np.random.default_rng(3).integers(0, 256, (5, 16, 16, 3), np.uint8)

CUSTOM = """
import keras

@keras.saving.register_keras_serializable("mine")
class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2

def halved(x):
    return x / 2
"""


def saved(model: Any, folder: Path) -> Path:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def exported(path: Path, how: Loading, folder: Path, **changes: Any) -> Exported:
    source = sources.keras_file(path, "0..1", None, how)
    (one,) = export(source, options(folder / "models", name="model", **changes))
    return one


def answers(one: Exported, model: Any) -> tuple[Any, Any]:
    """What the exported file says of some pixels, and what the Keras model says."""
    source = sources.Source(model, (), "", "", pixels("0..1"))
    got = inference.onnx_scores(source, one.made.model, PIXELS)
    return got, inference.original_scores(source, PIXELS)


# --- Several outputs -------------------------------------------------------------------------


def both(features: Any) -> dict[str, Any]:
    return {"scores": layers.Dense(3, "softmax", name="head")(features), "embedding": features}


def test_the_output_that_has_the_scores_can_be_named(tmp_path: Path) -> None:
    """A dictionary is asked by its keys, a list by its layers' names; the message lists them."""
    path = saved(headed(both), tmp_path)
    with pytest.raises(ExportError) as caught:
        loading.load(path, PLAIN)
    assert str(caught.value).endswith(
        "has several outputs; --scores-output says which has the scores: "
        "scores (None, 3) or embedding (None, 12)"
    )
    with pytest.raises(ExportError, match="no output 'head'; it has scores, embedding"):
        loading.load(path, Loading(output="head"))
    one = exported(path, Loading(output="scores"), tmp_path)
    whole = keras.saving.load_model(path)
    assert [value.name for value in one.made.model.graph.output] == ["probabilities"]
    got, _ = answers(one, keras.saving.load_model(one.version / "model.keras"))
    expected = whole.predict(PIXELS / np.float32(255), verbose=0)["scores"]
    assert got == pytest.approx(expected, abs=1e-5)
    listed = saved(headed(lambda x: [x, layers.Dense(3, name="head")(x)]), tmp_path)
    assert loading.load(listed, Loading(output="head")).output_shape == (None, 3)


@pytest.mark.parametrize("wrap", [lambda x: {"scores": x}, lambda x: [x]], ids=["dict", "list"])
def test_an_only_output_may_be_wrapped(wrap: Any, tmp_path: Path) -> None:
    """A dictionary or a list of one is that one, to the end of an export."""
    model = headed(lambda x: wrap(layers.Dense(3, "softmax")(x)))
    one = exported(saved(model, tmp_path), PLAIN, tmp_path)
    got, expected = answers(one, keras.saving.load_model(one.version / "model.keras"))
    assert got == pytest.approx(expected, abs=1e-5)


# --- Code that a file does not bring ---------------------------------------------------------


def test_a_lambda_is_run_only_if_asked_for(tmp_path: Path) -> None:
    """It is anybody's code: the message says so and names the option that runs it."""
    model = headed(lambda x: layers.Softmax()(layers.Lambda(lambda y: y * 3)(layers.Dense(3)(x))))
    path = saved(model, tmp_path)
    with pytest.raises(ExportError, match=r"a Lambda layer, which is .* --trust-lambda runs it"):
        loading.load(path, PLAIN)
    got, expected = answers(exported(path, Loading(trust_lambda=True), tmp_path), model)
    assert got == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "make"),
    [
        ("Doubling", "class", lambda own: own["Doubling"]()),
        ("halved", "function", lambda own: layers.Activation(own["halved"])),
        ("halved", "function", lambda own: layers.Lambda(own["halved"])),
    ],
    ids=["layer", "activation", "lambda"],
)
def test_a_python_file_can_bring_layers_of_its_own(
    name: str, kind: str, make: Any, tmp_path: Path
) -> None:
    """What is missing is named; --custom runs the file that defines it."""
    (tmp_path / "own.py").write_text(CUSTOM)
    own = loading._defined(tmp_path / "own.py")
    model = headed(lambda x: layers.Softmax()(make(own)(layers.Dense(3)(x))))
    path = saved(model, tmp_path)
    keras.saving.get_custom_objects().clear()
    del sys.modules[loading.CUSTOM]
    with pytest.raises(ExportError) as caught:
        loading.load(path, PLAIN)
    assert f"the {kind} {name} is no part of Keras; --custom FILE.py" in str(caught.value)
    got, expected = answers(exported(path, Loading(custom=tmp_path / "own.py"), tmp_path), model)
    assert got == pytest.approx(expected, abs=1e-5)


def test_a_custom_file_that_fails_is_told_in_a_line(tmp_path: Path) -> None:
    """No such file, no Python, code that raises: each names the file."""
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "raises.py").write_text("raise RuntimeError('several\\nlines')")
    path = saved(headed(layers.Dense(3)), tmp_path)
    for name, expected in (
        ("none.py", "FileNotFoundError"),
        ("text.txt", "expected a Python file"),
        ("raises.py", "RuntimeError: lines"),
    ):
        with pytest.raises(ExportError, match=rf"--custom .*{name}: {expected}"):
            loading.load(path, Loading(custom=tmp_path / name))


def test_a_model_that_is_no_graph_says_how_it_becomes_one(tmp_path: Path) -> None:
    """A class of one's own, and a Sequential that never saw its input, do not tell their shapes."""
    (tmp_path / "own.py").write_text(
        CUSTOM + "class Mine(keras.Model):\n"
        "    def __init__(self, **more):\n        super().__init__(**more)\n"
        "        self.head = keras.layers.Dense(3)\n"
        "    def call(self, x):\n        return self.head(x)\n"
    )
    own = loading._defined(tmp_path / "own.py")
    mine = own["Mine"]()
    mine(np.zeros((1, 16, 16, 3), np.float32))
    mine.save(tmp_path / "mine.keras")
    with pytest.raises(ExportError, match="a Mine that is no graph of layers; save keras"):
        loading.load(tmp_path / "mine.keras", Loading(custom=tmp_path / "own.py"))
    with pytest.warns(UserWarning, match="has not yet been built"):
        keras.Sequential([layers.Flatten(), layers.Dense(3)]).save(tmp_path / "bare.keras")
    with pytest.raises(ExportError, match="a Sequential that is no graph of layers; save keras"):
        loading.load(tmp_path / "bare.keras", PLAIN)
    image = keras.Input((16, 16, 3))
    other = keras.Input((4,), name="other")
    flat = layers.Flatten()(image)
    two = keras.Model([image, other], layers.Dense(3)(layers.Concatenate()([flat, other])))
    with pytest.raises(ExportError, match=r"has 2 inputs, .*other; expected one, of pictures"):
        loading.load(saved(two, tmp_path), PLAIN)


class Unknown(layers.Layer):  # type: ignore[misc, name-defined]
    """An operation that ONNX does not have."""

    def call(self, inputs: Any) -> Any:
        import tensorflow

        return tensorflow.raw_ops.Digamma(x=inputs)


def test_what_tf2onnx_cannot_convert_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The operation and the layer are named; nothing of a stack is printed."""
    model = headed(lambda x: Unknown(name="odd")(layers.Dense(3)(x)))
    source = sources.Source(model, (), "random", "0" * 64, pixels("0..1"))
    capfd.readouterr()
    with pytest.raises(ExportError) as caught:
        export(source, options(tmp_path))
    assert "No Op registered for Digamma" in str(caught.value)
    assert "odd" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in "".join(capfd.readouterr())


# --- Half precision --------------------------------------------------------------------------


def softmax(features: Any) -> Any:
    return layers.Dense(3, "softmax")(features)


def inside(features: Any) -> Any:
    return keras.Sequential([layers.Dense(3), layers.Softmax()])(features)


def with_policy(policy: str, head: Any) -> Any:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return headed(head)
    finally:
        keras.config.set_dtype_policy(before)


def test_half_precision_inside_comes_out_as_fp32(tmp_path: Path) -> None:
    """Scores are cast at the end, whatever they were; the file and the line say what computes."""
    model = with_policy("mixed_float16", softmax)
    assert model.output.dtype == "float16"
    one = exported(saved(model, tmp_path), PLAIN, tmp_path)
    assert metadata(one.version / "model.onnx")["compute_dtype"] == "float16"
    (loaded,) = loader.load(loader.ModelSource(one.version.parent), ON_CPU).models.values()
    assert loaded.outputs["probabilities"].datatype == "FP32"
    loaded.close()
    got, expected = answers(one, model)
    assert got == pytest.approx(expected, abs=5e-3)
    assert ", it computes in float16: tolerance 5.0e-03, top-1 100.00%" in told(one)


def test_a_tolerance_that_was_asked_for_holds_in_half_precision(tmp_path: Path) -> None:
    """What suits the model is only the default."""
    path = saved(with_policy("mixed_float16", softmax), tmp_path)
    with pytest.raises(ExportError, match=r"allowed is 1e-09 \(as asked\).* --max-diff sets"):
        exported(path, PLAIN, tmp_path, tolerance=Tolerance(max_diff=1e-9))


def test_scores_of_one_place_are_those_of_a_picture(tmp_path: Path) -> None:
    """A network of convolutions alone gives [batch, 1, 1, classes]."""

    def place(features: Any) -> Any:
        return layers.Conv2D(3, 1, activation="softmax")(layers.Reshape((1, 1, 12))(features))

    model = headed(place)
    one = exported(saved(model, tmp_path), PLAIN, tmp_path)
    got, expected = answers(one, model)
    assert got == pytest.approx(expected.reshape(got.shape), abs=1e-5)


def test_answers_that_are_cast_to_half_precision_have_its_tolerance(tmp_path: Path) -> None:
    """Rounded in Keras and not in between by the exported model: they differ by what that is."""

    def halved(features: Any) -> Any:
        return keras.ops.cast(softmax(features), "float16")

    one = exported(saved(with_policy("float32", halved), tmp_path), PLAIN, tmp_path)
    assert one.made.allowed.max_diff == 5e-3
    assert metadata(one.version / "model.onnx")["compute_dtype"] == "float32"


def test_bfloat16_is_refused_with_the_option_that_exports_it(tmp_path: Path) -> None:
    """One sentence that names a layer; --float32 computes the same weights in float32."""
    head = layers.Activation("softmax", dtype="float32")
    model = with_policy("mixed_bfloat16", lambda x: head(layers.Dense(3)(x)))
    path = saved(model, tmp_path)
    ended = run_here(["crossrun-export", "keras", str(path), "--output", str(tmp_path / "m")])
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("crossrun-export: functional")
    assert "computes in bfloat16 (layer " in ended.stderr
    assert "--float32 computes it in float32, with the same weights" in ended.stderr
    one = exported(path, Loading(float32=True), tmp_path)
    assert metadata(one.version / "model.onnx")["compute_dtype"] == "float32"
    got, expected = answers(one, model)
    assert got == pytest.approx(expected, abs=0.05)  # three digits of bfloat16


def test_float32_reaches_the_layers_of_nested_models(tmp_path: Path) -> None:
    """All that computes does so in float32, and the weights are the same ones."""
    nested = with_policy("mixed_float16", inside)
    path = saved(nested, tmp_path)
    found = loading.load(path, Loading(float32=True))
    assert (dtypes.of(nested), dtypes.of(found)) == ("float16", "float32")
    for one, other in zip(found.get_weights(), nested.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_int8_of_half_precision_is_refused_with_the_option(tmp_path: Path) -> None:
    """The quantizer knows float32 alone; with --float32 it has it."""
    path = saved(with_policy("mixed_float16", softmax), tmp_path)
    with pytest.raises(ExportError, match="int8: the model computes in float16; --float32 lets"):
        exported(path, PLAIN, tmp_path, precisions=("int8",))
    one = exported(path, Loading(float32=True), tmp_path, precisions=("int8",))
    assert one.made.cost.top1_agreement > 0.9


def test_the_larger_logits_are_the_more_they_may_differ(tmp_path: Path) -> None:
    """Rounding grows with the numbers: a tolerance for probabilities would refuse any runtime."""
    model = headed(lambda x: layers.Rescaling(3000.0)(layers.Dense(3)(x)))
    one = exported(saved(model, tmp_path), PLAIN, tmp_path, scores="logits")
    assert one.made.cost.max_abs_diff < 1e-4 * np.abs(answers(one, model)[1]).max() * 5
    assert ", its largest logit is " in told(one)
