"""Classifiers of other runtimes: exported by the same rules as Keras's, served, and refused."""

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto as Tp
from onnx import helper
from PIL import Image

from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_export.errors import ExportError
from crossrun_export.foreign import litert, onnx_file, saved_model
from crossrun_export.foreign.export import export
from crossrun_export.foreign.settings import Options
from crossrun_export.foreign.source import ForeignSource
from tests.support import litert_models, onnx_files
from tests.support.keras_models import strongest
from tests.support.metadata import metadata
from tests.support.onnx_files import brightness
from tests.support.proofs import load
from tests.support.running import run_here, serving
from tests.support.workers import made_once

LABELS = ("red", "green", "blue")


def options(folder: Path, **changes: Any) -> Options:
    (folder / "labels.txt").write_text("\n".join(LABELS))
    defaults: dict[str, Any] = {
        "output": folder / "models",
        "name": "model",
        "input_dtype": "uint8",
        "resize": "stretch",
        "labels": folder / "labels.txt",
        "pixels": "0..1",
    }
    return Options(**(defaults | changes))


def source(model: onnx.ModelProto, folder: Path) -> ForeignSource:
    onnx.save(model, folder / "source.onnx")
    return onnx_file.load(folder / "source.onnx")


def shape(file: Path) -> list[str | int]:
    (image,) = onnx.load(file).graph.input
    return [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]


@pytest.fixture(scope="module")
def exported(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one classifier of each runtime, exported by the commands."""

    def make(folder: Path) -> None:
        (folder / "labels.txt").write_text("\n".join(LABELS))
        onnx.save(brightness(), folder / "adopted.onnx")
        model = strongest()
        model.export(folder / "saved", verbose=False)
        (folder / "whole.tflite").write_bytes(litert_models.classifier(model, "uint8"))
        common = ["--labels", str(folder / "labels.txt"), "--output", str(folder / "models")]
        for words in (
            ["onnx", str(folder / "adopted.onnx"), "--pixels", "0..1"],
            ["saved-model", str(folder / "saved"), "--pixels", "0..1"],
            ["litert", str(folder / "whole.tflite")],
        ):
            done = run_here(["crossrun-export", *words, *common])
            assert done.returncode == 0, done.stderr

    return made_once(pytestconfig, tmp_path_factory, "foreign-classifiers", make) / "models"


NAMES = ("adopted", "saved", "whole")


def test_a_classifier_of_each_runtime_is_served(exported: Path, tmp_path: Path) -> None:
    """The brightest channel of a picture has the label that comes back, in probabilities."""
    pictures = []
    for place in range(3):
        pixels = np.full((40, 30, 3), 60, np.uint8)
        pixels[..., place] = 250
        Image.fromarray(pixels).save(tmp_path / "picture.png")
        pictures.append((tmp_path / "picture.png").read_bytes())
    with (
        serving(exported, tmp_path / "log", "--provider", "cpu") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for name in NAMES:
            request = vision_pb2.ClassifyRequest(model=name, images=pictures, top_k=3)
            results = VisionStub(channel).Classify(request).results
            assert tuple(one.classes[0].label for one in results) == LABELS
            assert sum(it.score for it in results[0].classes) == pytest.approx(1, abs=0.01)


def test_the_original_lies_beside_what_was_made_of_it(exported: Path) -> None:
    """The file says which runtime answers, and how it takes pixels; the proof is the original's."""
    files = {"adopted": "source.onnx", "saved": "saved_model", "whole": "model.tflite"}
    runtimes = {"adopted": "onnxruntime", "saved": "tensorflow", "whole": "litert"}
    for name in NAMES:
        folder = exported / name / "1"
        found = metadata(folder / "model.onnx")["source"]
        assert (found["file"], found["runtime"]) == (files[name], runtimes[name])
        assert (folder / found["file"]).exists()
        assert found["layout"] is None
        assert found["scaling"]["scale"] == pytest.approx(1 / 255)
        (proof, *_) = load(exported, name=name)
        assert proof.difference is not None
        assert proof.allowed is not None
        assert proof.difference <= proof.allowed


def test_a_quantized_classifier_is_exported_as_it_is(exported: Path) -> None:
    """It is the model NAME, says that it is int8, and is held against what eight bits can be."""
    found = metadata(exported / "whole" / "1" / "model.onnx")
    assert (found["precision"], found["compute_dtype"]) == ("int8", "int8")
    assert found["parity"]["max_abs_diff"] <= 0.05
    assert metadata(exported / "adopted" / "1" / "model.onnx")["precision"] == "fp32"
    kinds = {node.op_type for node in onnx.load(exported / "whole" / "1" / "model.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


def test_the_batch_is_of_any_size(exported: Path) -> None:
    """Also where the original takes one picture: its rows are proven independent."""
    for name in NAMES:
        assert shape(exported / name / "1" / "model.onnx") == ["batch", 8, 8, 3]
        assert "max_batch_size: 32" in (exported / name / "config.pbtxt").read_text()


def test_rows_that_mix_are_run_one_by_one(tmp_path: Path) -> None:
    """A softmax over all rows: the export says so, and the configuration has no batch."""
    model = brightness()
    model.graph.node[-1].attribute[0].i = 0
    model.graph.node.append(helper.make_node("Identity", ["scores"], ["answers"]))
    model.graph.output[0].name = "answers"
    said: list[str] = []
    found = source(model, tmp_path)
    asked = options(tmp_path, scores="sigmoid")
    ((version, _),) = export(found, asked, say=said.append)
    assert any(line.startswith("one picture at a time: ") for line in said)
    assert shape(version / "model.onnx") == [1, 8, 8, 3]
    assert "max_batch_size: 0" in (tmp_path / "models" / "model" / "config.pbtxt").read_text()


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_other_precisions_have_their_price(precision: Any, tmp_path: Path) -> None:
    """It is measured against the original's runtime, as with Keras."""
    conv = onnx_files.convolution()
    asked = options(tmp_path, precisions=("fp32", precision), scores="logits")
    (_, _), (version, told) = export(source(conv, tmp_path), asked)
    assert version == tmp_path / "models" / f"model-{precision}" / "1"
    assert "agrees with onnxruntime on " in told
    price = metadata(version / "model.onnx")["price"]
    assert 0.9 <= price["top1_agreement"] <= 1


def test_a_quantized_file_has_no_other_precision(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(litert_models.classifier(strongest(), "int8"))
    with pytest.raises(ExportError, match=r"is quantized already .* leave --precision out"):
        export(litert.load(path), options(tmp_path, precisions=("int8",)))
    assert not (tmp_path / "models").exists()


def test_names_of_the_original_do_not_matter(tmp_path: Path) -> None:
    """Its tensors may be called what an exported model calls its own."""
    model = brightness(picture="image", scores="logits", hidden="probabilities")
    ((version, _),) = export(source(model, tmp_path), options(tmp_path))
    (output,) = onnx.load(version / "model.onnx").graph.output
    assert output.name == "probabilities"


def test_one_of_several_outputs_can_be_named(tmp_path: Path) -> None:
    """The others are left out, with whatever computes them alone."""
    model = brightness()
    value = helper.make_tensor_value_info("other", Tp.FLOAT, [1, 3])
    model.graph.node.append(helper.make_node("Neg", ["row"], ["other"]))
    model.graph.output.append(value)
    found = source(model, tmp_path)
    with pytest.raises(ExportError, match=r"expected scores \[1, 3\] or other \[1, 3\]"):
        export(found, options(tmp_path))
    ((version, _),) = export(found, options(tmp_path, scores_output="scores"))
    made = onnx.load(version / "model.onnx").graph
    assert [output.name for output in made.output] == ["probabilities"]
    assert "Neg" not in {node.op_type for node in made.node}


# --- What is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": None}, "takes float32, and nothing tells which range; say it by --pixels"),
        ({"labels": "two"}, "2 labels for a model of 3 classes"),
        ({"scores": "logits"}, "--scores logits, but its last operation is Softmax"),
        ({"scores_output": "none"}, r"expected scores \[1, 3\]"),
        ({"resize": "letterbox"}, "--resize letterbox is for detectors; expected stretch or crop"),
        ({"size": (16, 16)}, "--size: source takes pictures of 8x8"),
    ],
)
def test_what_is_not_known_or_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """In words that name the option, and nothing is written."""
    if "labels" in changes:
        (tmp_path / "two.txt").write_text("a\nb\n")
        changes = {"labels": tmp_path / "two.txt"}
    with pytest.raises(ExportError, match=message):
        export(source(brightness(), tmp_path), options(tmp_path, **changes))
    assert not list(tmp_path.glob("models/*"))


def test_what_is_neither_is_refused_with_the_table(tmp_path: Path) -> None:
    """Numbers of classes alone are no scores, and pictures are no boxes."""
    value = helper.make_tensor_value_info
    for kind, shape in ((Tp.INT64, [1]), (Tp.FLOAT, [1, 3, 8, 8])):
        model = brightness()
        node = (
            helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0)
            if kind == Tp.INT64
            else helper.make_node("Neg", ["pixels"], ["best"])
        )
        model.graph.node.append(node)
        del model.graph.output[:]
        model.graph.output.append(value("best", kind, shape))
        with pytest.raises(
            ExportError,
            match=r"is no classifier and no detector: it returns best .* rows: \[n, 6\]",
        ):
            export(source(model, tmp_path), options(tmp_path))


def test_what_does_not_answer_as_the_original_is_not_written(tmp_path: Path) -> None:
    """The graph that is served is held against the runtime of the original, picture by picture."""
    found = source(brightness(), tmp_path)
    *_, scale, _ = found.graph.graph.node
    assert scale.op_type == "Mul"
    scale.op_type = "Add"
    with pytest.raises(ExportError, match=r"the exported model differs by up to .* the worst is"):
        export(found, options(tmp_path))
    assert not list((tmp_path / "models").iterdir())


def test_a_saved_model_of_any_size_is_refused_until_one_is_said(tmp_path: Path) -> None:
    from crossrun_export.backend import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        lambda pictures: {"scores": tf.nn.softmax(9 * tf.reduce_mean(pictures, [1, 2]))},
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="pictures")],
    )
    tf.saved_model.save(module, str(tmp_path / "any"), signatures=module.serve)
    found = saved_model.load(tmp_path / "any", None)
    with pytest.raises(ExportError, match="pictures of any size; --size HEIGHTxWIDTH says which"):
        export(found, options(tmp_path))
    ((version, _),) = export(found, options(tmp_path, size=(12, 20)))
    assert shape(version / "model.onnx") == ["batch", 12, 20, 3]
