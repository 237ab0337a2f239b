"""Detectors in LiteRT and ONNX files go the way of those in SavedModels."""

from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto as Tp
from onnx import helper
from PIL import Image

from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_export.foreign import litert
from crossrun_export.scaling import CHOICES
from tests.support import litert_models, onnx_files, vision
from tests.support.metadata import metadata
from tests.support.running import run_here, serving
from tests.support.workers import made_once

LABELS = ("red", "green", "blue")


def rows() -> onnx.ModelProto:
    """Finds the brightest channel, in a box of fixed corners: rows [1, 1, 6] in pixels."""
    model = onnx_files.brightness()
    softmax = model.graph.node.pop()
    constants = {"box": np.array([[1, 2, 5, 8]], np.float32), "last": np.array([1])}
    nodes = [
        softmax,
        helper.make_node("ReduceMax", ["scores"], ["score"], axes=[1]),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1),
        helper.make_node("Cast", ["best"], ["class"], to=Tp.FLOAT),
        helper.make_node("Concat", ["box", "score", "class"], ["joined"], axis=1),
        helper.make_node("Unsqueeze", ["joined", "last"], ["rows"]),
    ]
    value = helper.make_tensor_value_info
    return onnx_files.model(
        [*model.graph.node, *nodes],
        model.graph.input,
        [value("rows", Tp.FLOAT, [1, 1, 6])],
        {it.name: onnx.numpy_helper.to_array(it) for it in model.graph.initializer} | constants,
    )


@pytest.fixture(scope="module")
def exported(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of a detector of each kind, exported by the commands."""

    def make(folder: Path) -> None:
        (folder / "labels.txt").write_text("\n".join(LABELS))
        (folder / "ssd.tflite").write_bytes(litert_models.detector(regular=False, score=0.3))
        onnx.save(rows(), folder / "rows.onnx")
        common = ["--labels", str(folder / "labels.txt"), "--pixels", "0..1"]
        for words in (
            ["litert", str(folder / "ssd.tflite")],
            ["onnx", str(folder / "rows.onnx"), "--box-unit", "pixels", "--first-class", "0"],
        ):
            output = ["--output", str(folder / "models")]
            done = run_here(["crossrun-export", *words, *common, *output])
            assert done.returncode == 0, done.stderr

    return made_once(pytestconfig, tmp_path_factory, "other-detectors", make)


def test_a_litert_detector_finds_what_litert_finds(exported: Path, tmp_path: Path) -> None:
    """Nothing is said but labels and pixels: how its outputs are read is LiteRT's."""
    side = litert_models.SIDE
    pixels = np.random.default_rng(8).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    answers = litert.load(exported / "ssd.tflite").ask(CHOICES["0..1"].apply(pixels[None]))
    classes, count, boxes, scores = answers.values()
    with (
        serving(exported / "models", tmp_path / "log", "--provider", "cpu") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        reply = vision.detect(
            VisionStub(channel), (tmp_path / "picture.png").read_bytes(), model="ssd"
        )
    found = reply.results[0].detections
    inside = np.clip(side * boxes[0, : int(count[0])], 0, side)
    seen = np.flatnonzero((inside[:, 2:] > inside[:, :2]).all(axis=1))  # others lie beside it
    assert len(found) == len(seen) > 3
    for place, one in zip(seen, found, strict=True):
        assert one.label == LABELS[int(classes[0, place])]
        assert one.score == pytest.approx(scores[0, place], abs=1e-4)
        corners = [one.box.ymin, one.box.xmin, one.box.ymax, one.box.xmax]
        assert corners == pytest.approx(inside[place].tolist(), abs=1e-2)


def test_an_onnx_detector_is_adopted(exported: Path) -> None:
    """Its rows become the four outputs of every detector, its box a share of the input."""
    model = onnx.load(exported / "models" / "rows" / "1" / "model.onnx")
    assert [output.name for output in model.graph.output] == [
        *("detection_boxes", "detection_scores", "detection_classes", "num_detections")
    ]
    found = metadata(exported / "models" / "rows" / "1" / "model.onnx")
    assert found["source"]["runtime"] == "onnxruntime"
    assert found["source"]["layout"]["layout"] == "rows"
    assert found["parity"]["detections"] > 0
