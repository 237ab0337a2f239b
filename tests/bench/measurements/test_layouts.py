"""What outputs of each layout say, against what a hand writes down."""

from typing import Any

import numpy as np
import pytest

from crossrun_bench.errors import BenchError
from crossrun_bench.models.layouts import objects
from crossrun_bench.models.model import Detector, Model
from crossrun_bench.models.original import Layout

HEIGHT, WIDTH = 100, 200
# ymin, xmin, ymax, xmax in shares, score, class: what all of them mean.
CAT, DOG = (0.1, 0.2, 0.5, 0.4, 0.9, 0), (0.3, 0.5, 0.7, 1.0, 0.6, 2)
BOXES = np.array([CAT[:4], DOG[:4]], np.float32)
SCORES, CLASSES = np.array([0.9, 0.6], np.float32), np.array([0, 2], np.float32)
# Of each class.
EACH = np.array([[0.9, 0.05, 0.05], [0.1, 0.3, 0.6]], np.float32)


def model(**changes: Any) -> Model:
    detector = Detector("stretch", 0.3, 0.5, 4, optional=True)
    shape = {"height": HEIGHT, "width": WIDTH, "classes": 3, "detector": detector}
    kept: dict[str, Any] = dict.fromkeys(Model.__dataclass_fields__, "") | shape | changes
    return Model(**kept)


def pixels(boxes: np.ndarray) -> np.ndarray:
    return boxes * np.array([HEIGHT, WIDTH] * 2, np.float32)


def x_first(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, [1, 0, 3, 2]]


def centred(boxes: np.ndarray) -> np.ndarray:
    top, left, bottom, right = boxes.T
    return np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=1)


def doubled(rows: np.ndarray) -> np.ndarray:
    """With the first once more, a little less sure: one that suppression has to drop."""
    again = rows[:1].copy()
    again[:, 4:] *= 0.9
    return np.concatenate([rows, again])


NAMES = {"boxes": "b", "scores": "s", "classes": "c", "count": "n"}
PAIR = {"boxes": "b", "scores": "s"}
THREE = (0, 1, 2)
ROWS = np.column_stack([x_first(pixels(BOXES)), SCORES, CLASSES])[[1, 0]]
YOLO = doubled(np.column_stack([centred(pixels(BOXES)), EACH]))
HALF = np.column_stack([np.full(3, 0.95), YOLO[:, 4:] / 0.95])  # of an object, and of each class
SURE = np.column_stack([YOLO[:, :4], np.log(HALF / (1 - HALF))])
LOGITS = np.log(np.column_stack([EACH, [1e-9, 1e-9]]))
WITH_NOTHING = np.insert(EACH, 0, 0.5, axis=1)
CASES: dict[str, tuple[Layout, dict[str, Any]]] = {
    "four outputs, the fifth row past the count": (
        Layout("tensorflow", NAMES, (1, 2, 3)),
        {
            "b": np.pad(BOXES, ((0, 1), (0, 0)), constant_values=1)[None],
            "s": np.array([[0.9, 0.6, 0.95]]),
            "c": np.array([[1, 3, 2]]),
            "n": np.array([2]),
        },
    ),
    "apart, without a batch, from class 5 with gaps": (
        Layout("apart", NAMES, (5, 7, 11), batched=False, box_order="xyxy"),
        {
            "b": x_first(BOXES)[[0, 1, 1]],
            "s": np.array([0.9, 0.6, 0.99]),
            "c": np.array([5, 11, 6]),  # 6 lies in a gap
            "n": np.array(3),
        },
    ),
    "rows": (
        Layout("rows", {"rows": "r"}, THREE, box_order="xyxy", box_unit="pixels"),
        {"r": ROWS[None]},
    ),
    "rows without a batch, the last class nothing": (
        Layout("rows", {"rows": "r"}, THREE, False, False, "xyxy", "pixels", "last"),
        {"r": np.concatenate([ROWS, [[0, 0, 9, 9, 0.99, 3]]])},
    ),
    "yolo, as columns": (
        Layout("yolo", {"rows": "r"}, THREE, True, True, "cxcywh", "pixels", "none", "sigmoid"),
        {"r": YOLO.T[None]},
    ),
    "yolo with objectness": (
        Layout(
            "yolo-objectness",
            {"rows": "r"},
            THREE,
            True,
            False,
            "cxcywh",
            "pixels",
            head="sigmoid-logits",
        ),
        {"r": SURE[None]},
    ),
    "detr": (
        Layout(
            "detr",
            PAIR,
            THREE,
            box_order="cxcywh",
            background="last",
            head="logits",
        ),
        {"b": centred(BOXES)[None], "s": LOGITS[None]},
    ),
    "ssd, the first class nothing, logits each for itself": (
        Layout(
            "ssd",
            PAIR,
            (1, 2, 3),
            background="first",
            head="sigmoid-logits",
        ),
        {
            "b": BOXES[[0, 1, 0]][None],
            "s": np.log(WITH_NOTHING / (1 - WITH_NOTHING))[[0, 1, 0]][None],
        },
    ),
    "our own, a score for each class": (
        Layout("keras", PAIR),
        {"b": BOXES[[0, 1, 0]][None], "s": np.where(EACH < 0.4, 0, EACH)[[0, 1, 0]][None]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layout_is_read(case: str) -> None:
    """Boxes in shares, best first, suppressed where boxes may show one object."""
    layout, outputs = CASES[case]
    (found,) = objects(outputs, layout, model())
    expected = np.array([CAT, DOG, (0,) * 6, (0,) * 6])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_only_so_many_are_returned() -> None:
    """The surest."""
    layout, outputs = CASES["rows"]
    few = Detector("stretch", 0.3, 0.5, 1, optional=True)
    (found,) = objects(outputs, layout, model(detector=few))
    np.testing.assert_allclose(found, [CAT], atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (Layout("mosaic", {"rows": "r"}), "unknown layout 'mosaic': expected one of tensorflow, "),
        (Layout("rows", {"rows": "x"}, THREE), "the original has no output x, but r"),
        (
            Layout("rows", {"rows": "r"}, (0, 1), box_order="xyxy", box_unit="pixels"),
            "the original finds a class that has no label",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(layout: Layout, said: str) -> None:
    """An unknown layout, an output that is not there, a class without a label."""
    with pytest.raises(BenchError, match=said):
        objects({"r": ROWS[None]}, layout, model())


def test_a_score_that_is_no_number_is_refused() -> None:
    layout, outputs = CASES["rows"]
    broken = outputs["r"].copy()
    broken[0, 1, 4] = np.nan
    with pytest.raises(BenchError, match="scores that are no numbers"):
        objects({"r": broken}, layout, model())
