"""The rows of a detector for one picture: what is no detection, and what makes no sense."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crossrun_server.errors import InvalidRequest, NoNumber, WrongLabels
from crossrun_server.model_config.detection_outputs import DetectionOutputs
from crossrun_server.vision import boxes
from crossrun_server.vision.boxes import Size
from crossrun_server.vision.detection_rows import DetectionRows, RowReader
from crossrun_server.vision.pipeline import Prediction

ROWS = DetectionOutputs(
    layout="rows",
    parts={"rows": "found"},
    batched=True,
    box_order="xyxy",
    box_unit="pixels",
    first_class=0,
    head=None,
    background="none",
    longest_side=99,
    min_score=None,
)
YOLO = replace(ROWS, layout="yolo", box_order="cxcywh", head="sigmoid")
DETR = replace(
    YOLO,
    layout="detr",
    parts={"boxes": "found", "scores": "sure"},
    head="logits",
    background="last",
)
VIEW = boxes.view(Size(40, 40), Size(40, 40), "stretch")


def read(said: DetectionOutputs, labels: int, least: float = 0, **outputs: Any) -> DetectionRows:
    arrays = {name: np.array([rows], np.float32) for name, rows in outputs.items()}
    return RowReader("it", said, labels).read(Prediction(VIEW, arrays, 0), least)


@pytest.mark.parametrize("labels", [2, 3])
def test_rows_lie_along_either_side(labels: int) -> None:
    """The number of labels tells which side of a matrix has the numbers of a box."""
    rows = np.arange(6 * 7).reshape(6, 7) / 100
    found = read(YOLO, labels, found=rows)
    lying = rows.T if labels == 2 else rows
    assert found.boxes.tolist() == lying[:, :4].astype(np.float32).tolist()
    assert found.scores.tolist() == pytest.approx(lying[:, 4:].max(axis=1))
    assert set(found.indices) == {labels - 1}


@pytest.mark.parametrize("shape", [(7, 7), (9, 5)])
def test_rows_of_any_other_width_are_refused(shape: tuple[int, int]) -> None:
    """Neither a square nor sides that fit no number of labels say where the scores are."""
    with pytest.raises(WrongLabels, match=r"'it' returns .* with 3 labels .* the 7 numbers of a"):
        read(YOLO, 3, found=np.zeros(shape))


def test_scores_of_other_classes_than_labels_are_refused() -> None:
    """A background that nobody told of would shift the labels, or add one."""
    scores = np.zeros((2, 5))
    with pytest.raises(WrongLabels, match="scores of 4 classes in 'sure', which has 3 labels"):
        read(DETR, 3, found=np.ones((2, 4)), sure=scores)


@pytest.mark.parametrize(
    ("background", "scores"), [("first", [[9, 1, 5, 2]]), ("last", [[1, 5, 2, 9]])]
)
def test_the_background_is_no_class(background: str, scores: list[list[int]]) -> None:
    """It takes part in the softmax, and is never the best."""
    said = replace(DETR, background=background)
    found = read(said, 3, found=np.ones((1, 4)), sure=scores)
    assert found.indices.tolist() == [1]
    assert found.scores[0] == pytest.approx(np.exp(5) / np.exp([1, 2, 5, 9]).sum())


def test_logits_become_probabilities_before_they_are_multiplied() -> None:
    """That of an object, too."""
    said = replace(YOLO, layout="yolo-objectness", head="sigmoid-logits")
    found = read(said, 3, found=[[1, 1, 2, 2, 0, 1, 0, -9]])
    assert found.scores.tolist() == pytest.approx([0.5 / (1 + np.exp(-1))])


def test_a_box_counts_from_the_least_score_on() -> None:
    """Of thousands of boxes most are nothing."""
    rows = [[1, 1, 2, 2, score, 0, 0] for score in (0.2, 0.3, 0.4, 0.0)]
    assert read(YOLO, 3, 0.3, found=rows).counted.tolist() == [False, True, True, False]
    assert read(YOLO, 3, 0, found=rows).counted.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("said", "row", "error", "told"),
    [
        (ROWS, [1, 1, 2, 2, 0.5, 0.5], InvalidRequest, "0.5 as the number of a class, expected a"),
        (ROWS, [1, 1, 2, 2, 7, 1], InvalidRequest, "scores from 7 to 7, expected probabilities"),
        (ROWS, [1, 1, 2, 2, 0.5, np.nan], NoNumber, "that are not numbers"),
        (ROWS, [1, 1, 2, np.nan, 0.5, 1], NoNumber, "that are not numbers"),
        (ROWS, [1, 1, 2, 2, np.nan, 1], NoNumber, "that are not numbers"),
        (YOLO, [1, 1, 2, 2, 0.5, np.nan, 0.1], NoNumber, "that are not numbers"),
        (YOLO, [1, np.nan, 2, 2, 0.5, 0.1, 0.1], NoNumber, "that are not numbers"),
        (YOLO, [1, 1, -2, 2, 0.5, 0.1, 0.1], InvalidRequest, "with a side of -2, so its boxes are"),
        (YOLO, [1, 1, 2, 2, 0.5, 3.5, 0.1], InvalidRequest, "scores from 3.5 to 3.5"),
    ],
)
def test_what_makes_no_sense_is_refused(
    said: DetectionOutputs, row: list[float], error: type[Exception], told: str
) -> None:
    """The message has the model, what it returned, and what was expected."""
    with pytest.raises(error, match=f"'it' returns .*{told}"):
        read(said, 3, found=[row, row])


def test_what_is_not_counted_may_be_anything() -> None:
    """Padding has no score, and its class need not be a number."""
    found = read(ROWS, 3, found=[[1, 1, 2, 2, 0.5, 2], [np.nan] * 4 + [0, np.nan]])
    assert found.counted.tolist() == [True, False]
    assert found.indices[0] == 2
