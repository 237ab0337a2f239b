"""Non-maximum suppression inside a graph, held against TensorFlow's and against plain Python."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from crossrun_export.detector import measure, suppress
from crossrun_export.detector.measure import Detections
from crossrun_export.detector.settings import Thresholds

Floats = NDArray[np.float32]
CELLS, CLASSES, MOST = 60, 3, 20
ONE = Thresholds(score=0.2, iou=0.5, most=MOST)


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    """Suppression alone, behind a network that gives what it is given."""
    shapes: dict[str, Any] = {
        "boxes": ["batch", "cells", 4],
        "scores": ["batch", "cells", "classes"],
    }
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    given = [
        helper.make_tensor_value_info(f"own_{n}", TensorProto.FLOAT, s) for n, s in shapes.items()
    ]
    nodes = [helper.make_node("Identity", [f"own_{name}"], [name]) for name in shapes]
    graph = helper.make_graph(nodes, "network", given, list(values.values()))
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = suppress.append(network, ONE)
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def run(
    session: onnxruntime.InferenceSession, boxes: Floats, scores: Floats, **asked: Any
) -> Detections:
    types = {"max_detections": np.int64}
    feeds = {name: np.array(value, types.get(name, np.float32)) for name, value in asked.items()}
    given = {"own_boxes": boxes, "own_scores": scores}
    return Detections(*session.run(list(suppress.OUTPUTS), given | feeds))


def chance(seed: int, batch: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    low, side = rng.uniform(0, 0.7, (batch, CELLS, 2)), rng.uniform(0.1, 0.3, (batch, CELLS, 2))
    boxes = np.concatenate([low, low + side], axis=2).astype(np.float32)
    return boxes, rng.uniform(0, 1, (batch, CELLS, CLASSES)).astype(np.float32)


def assert_same(one: Detections, other: Detections) -> None:
    for name, mine, its in zip(Detections._fields, one, other, strict=True):
        np.testing.assert_array_equal(mine, its, err_msg=name)


def one_of(detections: Detections, row: int) -> Detections:
    parts: Any = [part[row : row + 1] for part in detections]
    return Detections(*parts)


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
@pytest.mark.parametrize("thresholds", [ONE, Thresholds(0.8, 0.1, MOST), Thresholds(0.0, 1.0, 5)])
def test_detections_are_those_of_tensorflow(
    session: onnxruntime.InferenceSession, batch: int, thresholds: Thresholds
) -> None:
    """Any batch, any thresholds: the same boxes, scores, classes and counts, in the same order."""
    boxes, scores = chance(batch, batch)
    expected = measure.suppressed(boxes, scores, thresholds)
    got = run(
        session,
        boxes,
        scores,
        score_threshold=[[thresholds.score]],
        iou_threshold=[[thresholds.iou]],
        max_detections=[[thresholds.most]],
    )
    wide = [(0, 0), (0, MOST - thresholds.most)]
    assert_same(
        Detections(
            np.pad(expected.boxes, [*wide, (0, 0)]),
            np.pad(expected.scores, wide),
            np.pad(expected.classes, wide),
            expected.found,
        ),
        got,
    )
    assert expected.found.min() > 0


def test_a_request_that_names_no_threshold_gets_those_of_the_export(
    session: onnxruntime.InferenceSession,
) -> None:
    """They are values inside the file."""
    boxes, scores = chance(3, 2)
    assert_same(measure.suppressed(boxes, scores, ONE), run(session, boxes, scores))


def test_each_row_has_its_own_thresholds(session: onnxruntime.InferenceSession) -> None:
    """Requests that ask for different things share a batch and get what they would get alone."""
    boxes, scores = chance(4, 3)
    asked: dict[str, Any] = {
        "score_threshold": [[0.1], [0.5], [0.9]],
        "iou_threshold": [[0.2], [0.9], [0.4]],
        "max_detections": [[20], [3], [1]],
    }
    together = run(session, boxes, scores, **asked)
    assert list(together.found) == [20, 3, 1]
    for row in range(3):
        own = {name: [values[row]] for name, values in asked.items()}
        alone = run(session, boxes[row : row + 1], scores[row : row + 1], **own)
        assert_same(alone, one_of(together, row))


def test_classes_do_not_suppress_each_other(session: onnxruntime.InferenceSession) -> None:
    """Of equal boxes, one of each class stays."""
    boxes = np.tile(np.array([0.1, 0.2, 0.5, 0.6], np.float32), (1, 4, 1))
    scores = np.array([[[0.9, 0, 0], [0.8, 0, 0], [0, 0.7, 0], [0, 0.3, 0.6]]], np.float32)
    got = run(session, boxes, scores)
    assert got.found == [3]
    assert got.classes[0, :3].tolist() == [0, 1, 2]
    assert got.scores[0, :4].tolist() == pytest.approx([0.9, 0.7, 0.6, 0.0])


def test_equal_scores_are_all_found(session: onnxruntime.InferenceSession) -> None:
    """A tie has no order, and loses nobody."""
    starts = np.linspace(0, 0.9, 8, dtype=np.float32)
    boxes = np.stack([starts, starts, starts + 0.05, starts + 0.05], axis=1)[None]
    got = run(session, boxes, np.full((1, 8, 1), 0.5, np.float32))
    assert got.found == [8]
    assert sorted(got.boxes[0, :8, 0].tolist()) == starts.tolist()


def test_nothing_found_is_all_zero(session: onnxruntime.InferenceSession) -> None:
    """A picture without objects beside one with some, and one that wants no detections."""
    boxes, scores = chance(5, 3)
    scores[0] = 0.1
    got = run(session, boxes, scores, max_detections=[[20], [20], [0]])
    assert got.found[0] == got.found[2] == 0
    assert got.found[1] > 0
    for row in (0, 2):
        assert not any(part[row].any() for part in (got.boxes, got.scores, got.classes))


def test_thresholds_out_of_range_harm_no_neighbour(session: onnxruntime.InferenceSession) -> None:
    """They count as the nearest that is allowed; the other rows of the batch are as ever."""
    boxes, scores = chance(6, 3)
    got = run(session, boxes, scores, iou_threshold=[[7], [0.5], [-1]], max_detections=[[99]] * 3)
    for row, iou in enumerate((1.0, 0.5, 0.0)):
        alone = run(session, boxes, scores, iou_threshold=[[iou]])
        assert_same(one_of(alone, row), one_of(got, row))


def test_the_graph_says_that_thresholds_may_be_left_out(
    session: onnxruntime.InferenceSession,
) -> None:
    """onnxruntime lists them apart from what has to be given, a row for each of the batch."""
    own = session.get_overridable_initializers()
    assert {value.name: value.shape[1:] for value in own} == {
        "score_threshold": [1],
        "iou_threshold": [1],
        "max_detections": [1],
    }
    assert all(isinstance(value.shape[0], str) for value in own)
