"""Detectors of other layouts: found, decoded in the graph, and read in numpy."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper

from crossrun_export.detector import suppress
from crossrun_export.detector.measure import Detections
from crossrun_export.detector.settings import Thresholds
from crossrun_export.foreign.layouts import Layout, Said, append, find, read
from crossrun_export.foreign.source import Output
from crossrun_export.runtime import Outputs
from tests.support import detectors, foreign_detectors
from tests.support.pictures import scene

SIZE = (detectors.HEIGHT, detectors.WIDTH)
LABELS = len(detectors.LABELS)
THRESHOLDS = Thresholds(score=0.3, iou=0.5, most=5)
# What options have to say where neither shapes nor what was seen tell it.
SAID = {
    "apart": Said(box_order="xyxy"),
    "detr": Said(head="logits"),
    "detr of sigmoids": Said(),
    "ssd": Said(layout="ssd", box_order="xyxy", background="first"),
}
FORMS: dict[str, dict[str, Any]] = {
    "any batch": {},
    "one picture": {"batch": 1},
    "no batch": {"batch": 1, "batched": False},
}


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """Two pictures: of three objects, and of two."""
    whole = np.asarray(scene(SIZE[::-1]))
    less = whole.copy()
    less[SIZE[0] // 2 :] = 90
    return np.stack([whole, less])


def run(model: onnx.ModelProto, image: NDArray[np.uint8], **asked: Any) -> Outputs:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image, **asked}), strict=True))


def outputs_of(model: onnx.ModelProto) -> list[Output]:
    """The outputs as a source would tell them; a size with a name is any."""
    return [
        Output(
            value.name,
            helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            tuple(d.dim_value or -1 for d in value.type.tensor_type.shape.dim),
        )
        for value in model.graph.output
    ]


def found_in(model: onnx.ModelProto, seen: Outputs | None, said: Said | None = None) -> Layout:
    layout = find(outputs_of(model), SIZE, LABELS, said or Said(), seen)
    assert layout is not None
    return layout


def detections(outputs: Outputs) -> Detections:
    return Detections(*(outputs[name] for name in suppress.OUTPUTS))


def assert_like(one: Detections, other: Detections) -> None:
    assert one.found.tolist() == other.found.tolist()
    for row, count in enumerate(one.found):
        assert one.classes[row, :count].tolist() == other.classes[row, :count].tolist()
        np.testing.assert_allclose(one.scores[row, :count], other.scores[row, :count], atol=1e-4)
        np.testing.assert_allclose(one.boxes[row, :count], other.boxes[row, :count], atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", foreign_detectors.KINDS)
def test_every_layout_finds_what_it_shows(kind: str, form: str, pixels: NDArray[np.uint8]) -> None:
    """In the graph and read in numpy, with any batch: boxes, scores and lines of the labels."""
    shape = FORMS[form]
    image = pixels if form == "any batch" else pixels[:1]
    source = foreign_detectors.model(kind, **shape)
    seen = run(source, image)
    layout = found_in(source, seen, SAID.get(kind))
    served = append(source, layout, THRESHOLDS)
    finder = detectors.finder(shape.get("batch", "batch"))
    expected = detections(run(finder, image))
    assert expected.found.tolist() == [3, 2][: len(image)]
    assert_like(expected, detections(run(served, image)))
    assert_like(expected, read(seen, layout, THRESHOLDS))
