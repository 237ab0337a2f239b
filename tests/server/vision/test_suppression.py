"""Suppression of overlapping boxes in the server, held against onnxruntime's."""

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto as Tp
from onnx import helper

from crossrun_server.vision.suppression import suppress
from tests.support import models

Floats = NDArray[np.float32]
BOXES, CLASSES = 80, 3


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    """ONNX's NonMaxSuppression alone, of any number that stays."""
    inputs = ["boxes", "scores", "most", "iou"]
    node = helper.make_node("NonMaxSuppression", inputs, ["kept"])
    values = [
        helper.make_tensor_value_info("boxes", Tp.FLOAT, [1, None, 4]),
        helper.make_tensor_value_info("scores", Tp.FLOAT, [1, None, None]),
        helper.make_tensor_value_info("most", Tp.INT64, [1]),
        helper.make_tensor_value_info("iou", Tp.FLOAT, [1]),
    ]
    kept = helper.make_tensor_value_info("kept", Tp.INT64, [None, 3])
    model = models.model_of([node], values, [kept])
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("most", [None, 7])
def test_what_stays_is_what_stays_in_a_graph(
    session: onnxruntime.InferenceSession, iou: float, most: int | None
) -> None:
    """Among many boxes of some classes, the same rows in the order of their scores."""
    draw = np.random.default_rng(5)
    low, side = draw.uniform(0, 0.7, (BOXES, 2)), draw.uniform(0.1, 0.3, (BOXES, 2))
    boxes = np.concatenate([low, low + side], axis=1).astype(np.float32)
    scores = draw.permutation(BOXES).astype(np.float32) / np.float32(BOXES)
    classes = draw.integers(0, CLASSES, BOXES)
    expected = in_graph(session, boxes, scores, classes, iou)[:most]
    assert suppress(boxes, scores, classes, iou, most).tolist() == expected
    assert len(expected) == (most or len(expected)) > 1


def in_graph(
    session: onnxruntime.InferenceSession,
    boxes: Floats,
    scores: Floats,
    classes: NDArray[np.int64],
    iou: float,
) -> list[int]:
    """The rows that onnxruntime keeps, each class for itself, best first."""
    kept: list[int] = []
    for one in range(CLASSES):
        rows = np.flatnonzero(classes == one)
        feeds = {
            "boxes": boxes[rows][None],
            "scores": scores[rows][None, None],
            "most": np.array([BOXES]),
            "iou": np.array([iou], np.float32),
        }
        (found,) = session.run(None, feeds)
        kept += rows[found[:, 2]].tolist()
    return sorted(kept, key=lambda row: -scores[row])


def test_of_equal_boxes_the_first_of_each_class_stays() -> None:
    """Equal scores lose nobody who has another class or another place."""
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2], [5, 5, 6, 6]])
    kept = suppress(boxes, np.full(4, 0.5), np.array([1, 1, 0, 1]), 0.5)
    assert kept.tolist() == [0, 2, 3]


def test_boxes_without_area_all_stay() -> None:
    """A point, a line and their likes overlap nothing."""
    boxes = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 4, 0], [0, 0, 4, 4]])
    kept = suppress(boxes, np.array([0.4, 0.3, 0.2, 0.1]), np.zeros(4), 0.0)
    assert kept.tolist() == [0, 1, 2, 3]


def test_no_boxes_leave_none() -> None:
    """A picture in which nothing is sure enough."""
    assert suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0), 0.5).tolist() == []
