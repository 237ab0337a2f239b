"""How like detections are to the original's, and precision and recall by score."""

from dataclasses import replace

import pytest

from crossrun_bench.measurements.detection.curve import best, curve
from crossrun_bench.measurements.detection.likeness import Likeness, likenesses, together
from crossrun_bench.measurements.detection.result import (
    Detection,
    DetectionResult,
    TargetDetections,
    Truth,
)
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters
from tests.support.coco import BOX, OTHER
from tests.support.results import INFO, MACHINE

Boxes = tuple[float, ...]
CAT, BIRD = Detection(0, 0.9, BOX), Detection(1, 0.8, OTHER)


def moved(box: Boxes, pixels: float) -> Boxes:
    return box[0], box[1] + pixels, box[2], box[3] + pixels


def result(reference: list[Detection], own: list[Detection], **changes: object) -> DetectionResult:
    """One picture."""
    found = DetectionResult(
        command="cmd",
        machine=MACHINE,
        model=INFO,
        min_score=0.01,
        pictures=("a.png",),
        truths=None,
        left_out=0,
        class_names=("cat", "bird"),
        targets=(
            TargetDetections("saved-model", (tuple(reference),)),
            TargetDetections("grpc-jpeg", (tuple(own),)),
        ),
        shown=(),
        sure=0.3,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


ALMOST = Detection(0, 0.25, BOX)  # not sure
CASES: dict[str, tuple[list[Detection], list[Detection], Likeness]] = {
    "the same": ([CAT, BIRD], [CAT, BIRD], Likeness(4, 4)),
    "missed": ([CAT, BIRD], [CAT], Likeness(3, 2)),
    "invented": ([CAT], [CAT, BIRD], Likeness(3, 2)),
    "another class": ([CAT], [replace(CAT, number=1)], Likeness(2, 0)),
    "moved": ([CAT], [replace(CAT, box=moved(BOX, 3), score=0.7)], Likeness(2, 2, 0.2, 3.0)),
    "moved away": ([CAT], [replace(CAT, box=moved(BOX, 60))], Likeness(2, 0)),
    "twice": ([CAT], [CAT, replace(CAT, score=0.8)], Likeness(3, 2)),
    "less sure": ([replace(CAT, score=0.31)], [ALMOST], Likeness(1, 1, 0.06)),
    "not sure at all": ([ALMOST], [], Likeness(0, 0)),
    "each its nearest": (
        [CAT, Detection(0, 0.5, moved(BOX, 20))],
        [Detection(0, 0.9, moved(BOX, 19)), Detection(0, 0.5, moved(BOX, 1))],
        Likeness(4, 4, 0.4, 1.0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_likes_are_counted_on_both_sides(case: str) -> None:
    """Of one class, over each other by half, one like for each at most."""
    reference, own, expected = CASES[case]
    (found,) = likenesses(result(reference, own), 1)
    assert (found.sure, found.alike) == (expected.sure, expected.alike)
    assert found.score == pytest.approx(expected.score)
    assert found.corner == pytest.approx(expected.corner)


def test_what_a_hair_would_hide_is_not_counted() -> None:
    """An object at the lowest score that was asked for, or at the end of a full row."""
    reference = [CAT, Detection(1, 0.305, OTHER)]
    (found,) = likenesses(result(reference, [CAT], min_score=0.3), 1)
    assert (found.sure, found.alike) == (2, 2)
    full = [CAT, Detection(0, 0.8, moved(BOX, 200))]
    (found,) = likenesses(result([CAT, BIRD], full), 1)
    assert (found.sure, found.alike) == (4, 2)
    (found,) = likenesses(result([CAT, BIRD], full, most=2), 1)
    assert (found.sure, found.alike) == (2, 2)


def test_several_pictures_are_taken_together() -> None:
    """Counts add up, differences are the largest."""
    parts = [Likeness(2, 1, 0.1, 5.0), Likeness(4, 4, 0.3, 1.0)]
    assert together(parts) == Likeness(6, 5, 0.3, 5.0)
    assert together(parts).agreement == pytest.approx(5 / 6)
    assert together([]).agreement is None


def test_the_report_says_how_like_without_labels() -> None:
    """The headline is the agreement; there is neither mAP nor a best score."""
    shown = chapters([result([CAT, BIRD], [CAT])])
    page, text = html.render(shown), markdown.render(shown, "p")
    assert "gRPC server, JPEG: 66.7 % of objects like SavedModel&#39;s" in page
    assert "| gRPC server, JPEG | 1 | 2 of 3 | 0 | 0.000 |" in text
    assert "| a.png | 2 of 3 | 0 | 0.000 |" in text
    assert "No mAP: no JSON of boxes" in text
    assert "F1" not in text


# Precision and recall by score.

TRUTHS = ((Truth(0, BOX), Truth(1, OTHER)), (Truth(0, OTHER), Truth(0, BOX, crowd=True)))
FOUND = (
    (CAT, replace(BIRD, score=0.6), Detection(1, 0.4, BOX)),  # right, right, wrong
    (Detection(0, 0.7, BOX), Detection(0, 0.2, OTHER)),  # of a crowd, right
)


def test_precision_and_recall_are_what_a_hand_computes() -> None:
    """By the score from which on an object counts; what is of a crowd counts neither way."""
    points = {p.score: p for p in curve(TRUTHS, FOUND, (0, 1), 0.05)}
    assert min(points) == 0.05
    expected = {0.95: (0, 0), 0.9: (1, 1), 0.6: (2, 2), 0.4: (3, 2), 0.2: (4, 3), 0.05: (4, 3)}
    for score, (found, right) in expected.items():
        point = points[score]
        assert (point.found, point.right, point.there) == (found, right, 3), score
    assert points[0.95].precision == 1.0
    assert points[0.4].precision == pytest.approx(2 / 3)
    assert points[0.4].recall == pytest.approx(2 / 3)
    assert points[0.2].f1 == pytest.approx(6 / 7)
    assert best(list(points.values())).f1 == pytest.approx(6 / 7)


def test_classes_that_nobody_labelled_count_neither_way() -> None:
    """A data set of cats says nothing of birds."""
    last = curve(TRUTHS, FOUND, (0,), 0.05)[0]
    assert (last.found, last.right, last.there) == (2, 2, 2)


def test_the_report_says_which_score_to_count_from() -> None:
    """As a sentence, at round scores and as a plot."""
    told = result([], [], truths=TRUTHS[:1], labelled=(0, 1))
    targets = tuple(TargetDetections(name, FOUND[:1]) for name in ("saved-model", "grpc-jpeg"))
    shown = chapters([replace(told, targets=targets)])
    page, text = html.render(shown), markdown.render(shown, "p")
    assert "F1 is best, 1.0000, from a score of 0.41 on (precision 100 %, recall 100 %)." in text
    assert "| 0.4 | 3 | 2 | 66.7 % | 100 % | 0.8000 |" in text
    assert "Which score to count from" in page
    assert "score from which on an object counts" in page
