"""Detectors of other layouts: found, decoded in the graph, and read in numpy."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts import Layout, Said, append, find, read
from crossrun_export.foreign.source import Output
from crossrun_export.runtime import Outputs
from tests.support import detectors, foreign_detectors
from tests.support.foreign_layouts import assert_like, detections, outputs_of, run
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


# The four outputs of TensorFlow's API, for a hundred detections.
API: dict[str, tuple[int, ...]] = {
    "detection_boxes": (1, 100, 4),
    "detection_scores": (1, 100),
    "detection_classes": (1, 100),
    "num_detections": (1,),
}


class Told(NamedTuple):
    """What a layout was found to be."""

    layout: str
    box_order: str
    box_unit: str
    numbers: tuple[int, ...]
    head: str | None = None


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """Two pictures: of three objects, and of two."""
    whole = np.asarray(scene(SIZE[::-1]))
    less = whole.copy()
    less[SIZE[0] // 2 :] = 90
    return np.stack([whole, less])


def found_in(model: onnx.ModelProto, seen: Outputs | None, said: Said | None = None) -> Layout:
    layout = find(outputs_of(model), SIZE, LABELS, said or Said(), seen)
    assert layout is not None
    return layout


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


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("tensorflow", Told("tensorflow", "yxyx", "normalised", (1, 2, 3))),
        ("eight outputs", Told("tensorflow", "yxyx", "normalised", (1, 2, 3))),
        ("rows", Told("rows", "xyxy", "pixels", (0, 1, 2))),
        ("yolo", Told("yolo", "cxcywh", "pixels", (0, 1, 2), "sigmoid")),
        ("yolo across", Told("yolo", "cxcywh", "normalised", (0, 1, 2), "sigmoid")),
        ("yolo-objectness", Told("yolo-objectness", "cxcywh", "pixels", (0, 1, 2), "sigmoid")),
        ("detr of sigmoids", Told("detr", "cxcywh", "normalised", (0, 1, 2), "sigmoid-logits")),
    ],
)
def test_what_shapes_names_and_values_tell_is_found(
    kind: str, expected: Told, pixels: NDArray[np.uint8]
) -> None:
    """Without any option, in whatever order the outputs come."""
    source = foreign_detectors.model(kind)
    seen = run(source, pixels)
    for outputs in (outputs_of(source), outputs_of(source)[::-1]):
        layout = find(outputs, SIZE, LABELS, Said(), seen)
        assert layout is not None
        told = (layout.layout, layout.box_order, layout.box_unit, layout.numbers, layout.head)
        assert Told(*told) == expected


@pytest.mark.parametrize(
    ("kind", "said", "option", "settles"),
    [
        ("apart", Said(), "--box-order", {"box_order": "xyxy"}),
        ("detr", Said(), "--head", {"head": "logits"}),
        ("ssd", Said(), "--layout", {"layout": "ssd", "box_order": "xyxy", "background": "first"}),
        ("ssd", Said("ssd"), "--box-order", {"box_order": "xyxy", "background": "first"}),
        ("ssd", Said("ssd", box_order="xyxy"), "--background", {"background": "first"}),
    ],
)
def test_what_nothing_tells_is_asked_for(
    kind: str, said: Said, option: str, settles: Any, pixels: NDArray[np.uint8]
) -> None:
    """The message names the option, and the option settles it."""
    source = foreign_detectors.model(kind)
    seen = run(source, pixels)
    with pytest.raises(ExportError, match=f"{option} says"):
        found_in(source, seen, said)
    layout = found_in(source, seen, replace(said, **settles))
    expected = detections(run(detectors.finder(), pixels))
    assert_like(expected, read(seen, layout, THRESHOLDS))


@pytest.mark.parametrize(
    ("kind", "said", "option"),
    [
        ("rows", Said(), "--box-unit"),
        ("rows", Said(box_unit="pixels"), "--first-class"),
        ("yolo", Said(), "--box-unit"),
        ("tensorflow", Said(), "--first-class"),
        ("detr of sigmoids", Said(), "--head"),
    ],
)
def test_what_only_answers_tell_is_asked_for_without_them(
    kind: str, said: Said, option: str
) -> None:
    """No unit, first class or head is guessed from shapes."""
    with pytest.raises(ExportError, match=option):
        found_in(foreign_detectors.model(kind), None, said)


def test_scores_and_classes_of_one_type_are_told_apart(pixels: NDArray[np.uint8]) -> None:
    """LiteRT calls outputs by numbers: whole numbers are classes, unless none was found."""
    source = foreign_detectors.model("tensorflow", batch=1)
    by_number = {
        name: f"StatefulPartitionedCall:{place}"
        for place, name in enumerate(value.name for value in source.graph.output)
    }
    outputs = [replace(one, name=by_number[one.name]) for one in outputs_of(source)]
    said = Said(layout="tensorflow")
    answers = run(source, pixels[:1])
    seen = {by_number[name]: value for name, value in answers.items()}
    layout = find(outputs, SIZE, LABELS, said, seen)
    assert layout is not None
    assert layout.outputs == {
        "boxes": by_number["detection_boxes"],
        "scores": by_number["detection_scores"],
        "classes": by_number["detection_classes"],
        "count": by_number["num_detections"],
    }
    nothing = {name: np.zeros_like(value) for name, value in seen.items()}
    with pytest.raises(ExportError, match="--part scores=NAME --part classes=NAME"):
        find(outputs, SIZE, LABELS, said, nothing)
    told = Said("tensorflow", {"scores": by_number["detection_scores"]}, first_class=1)
    layout = find(outputs, SIZE, LABELS, told, nothing)
    assert layout is not None
    assert layout.outputs["classes"] == by_number["detection_classes"]


def test_the_suppression_of_litert_is_known_by_its_names() -> None:
    """Its second output has the classes and its third the scores."""
    shapes = {"": (1, 10, 4), ":1": (1, 10), ":2": (1, 10), ":3": (1,)}
    name = "TFLite_Detection_PostProcess"
    outputs = [Output(name + n, np.dtype(np.float32), shape) for n, shape in shapes.items()]
    layout = find(outputs, SIZE, LABELS, Said(first_class=0), None)
    assert layout is not None
    assert (layout.layout, layout.box_order, layout.box_unit) == (
        "tensorflow", "yxyx", "normalised",
    )  # fmt: skip
    assert (layout.outputs["classes"], layout.outputs["scores"]) == (f"{name}:1", f"{name}:2")


def test_pixels_need_an_input_of_a_known_size(pixels: NDArray[np.uint8]) -> None:
    """A box in pixels of any size is no share of it."""
    source = foreign_detectors.model("rows")
    with pytest.raises(ExportError, match=r"whose size is free, \[-1, 64\]; --size fixes it"):
        find(outputs_of(source), (-1, 64), LABELS, Said(), run(source, pixels))


def test_two_classes_make_rows_and_yolo_alike() -> None:
    """Six numbers a row may be either: a class that is a whole number tells them apart."""
    rows = np.array([[[8, 8, 24, 24, 0.9, 1], [8, 8, 24, 30, 0.7, 0]]], np.float32)
    output = [Output("found", np.dtype(np.float32), (1, 2, 6))]
    layout = find(output, SIZE, 2, Said(), {"found": rows})
    assert layout is not None
    assert layout.layout == "rows"
    rows[..., 5] = 0.25
    layout = find(output, SIZE, 2, Said(), {"found": rows})
    assert layout is not None
    assert layout.layout == "yolo"
    with pytest.raises(ExportError, match="may be rows or yolo; --layout says which"):
        find(output, SIZE, 2, Said(), None)


@pytest.mark.parametrize(
    ("shapes", "labels"),
    [
        ({"output": (1, 84, 8400)}, 10),
        ({"boxes": (1, 10, 4), "scores": (1, 9)}, 3),
        ({"boxes": (1, 10, 4)}, 3),
        ({"boxes": (1, 10, 4), "scores": (1, 10, 91)}, 80),
        ({"found": (1, 100, 7)}, 80),
        ({"found": (100, 5)}, 80),
    ],
)
def test_a_shape_that_fits_no_layout_is_refused_with_the_table(
    shapes: dict[str, tuple[int, ...]], labels: int
) -> None:
    """The message has the outputs, the number of labels and what was expected."""
    outputs = [Output(name, np.dtype(np.float32), shape) for name, shape in shapes.items()]
    with pytest.raises(ExportError) as raised:
        find(outputs, SIZE, labels, Said(), None)
    told = str(raised.value)
    assert f"{labels} labels" in told
    assert all(f"{name!r} float32 {list(shape)}" in told for name, shape in shapes.items())
    assert "yolo: [4 + classes, n] or [n, 4 + classes]" in told
    assert "\n" not in told


def test_six_numbers_that_are_no_labels_are_a_row() -> None:
    """Of one picture, without a batch: a classifier of 80 labels has 80 scores."""
    output = Output("found", np.dtype(np.float32), (-1, 6))
    layout = find([output], SIZE, 80, Said(box_unit="pixels", first_class=0), None)
    assert layout is not None
    assert (layout.layout, layout.batched) == ("rows", False)


@pytest.mark.parametrize("shape", [(-1, 6), (1, 6), (-1, 4), (-1, 1000), (1, 7, 7, 512)])
def test_a_classifier_is_no_detector(shape: tuple[int, ...]) -> None:
    """Six scores of a picture are no row, unless an option says it."""
    outputs = [Output("scores", np.dtype(np.float32), shape)]
    assert find(outputs, SIZE, 6, Said(), None) is None


@pytest.mark.parametrize(
    ("kind", "column", "value", "told"),
    [
        ("rows", 5, 0.5, "classes are no whole numbers, such as 0.5"),
        ("rows", 5, 9.0, "class 9 was found, and the 3 labels"),
        ("rows", 4, 7.5, "scores from .* to 7.5 are no probabilities"),
        ("rows", 2, -9.0, "have a side below 0, so they are not xyxy"),
        ("yolo across", 2, -9.0, "have a side below 0, so they are not cxcywh"),
        ("yolo across", 5, -3.0, "scores from -3 .* are no probabilities, and --head"),
        ("rows", 4, np.nan, "numbers that are none"),
    ],
)
def test_answers_that_contradict_a_layout_are_refused(
    kind: str, column: int, value: float, told: str, pixels: NDArray[np.uint8]
) -> None:
    """What was seen of a source has to make sense as its layout reads it."""
    source = foreign_detectors.model(kind)
    seen = run(source, pixels)
    (rows,) = seen.values()
    rows[..., column] = value
    said = Said(box_unit="normalised")
    if kind == "rows":
        said = Said(box_unit="pixels", first_class=0)
    with pytest.raises(ExportError, match=told):
        found_in(source, seen, said)


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        ("rows", Said(box_unit="normalised"), "said to be normalised and look like pixels"),
        ("yolo across", Said(box_unit="pixels"), "said to be pixels and look like normalised"),
        ("tensorflow", Said(first_class=0), "class 3 was found, and the 3 labels have the numbers"),
        ("detr", Said(head="sigmoid", background="last"), "--head sigmoid says otherwise"),
        ("yolo", Said(head="sigmoid-logits"), "are probabilities already, and --head"),
        ("yolo", Said(layout="rows"), "--layout rows: the outputs do not fit it"),
        ("rows", Said(outputs={"rows": "lost"}), "--part rows=lost: expected one of the outputs"),
        ("rows", Said("rows", {"boxes": "found"}), "--part boxes: expected one of rows"),
        ("rows", Said(head="softmax"), "--head softmax: rows has no score for each class"),
        ("yolo", Said(first_class=1), "--first-class 1: yolo has no numbers of classes"),
        ("yolo-objectness", Said(head="logits"), "has sigmoid or sigmoid-logits"),
        ("detr", Said(head="logits", background="none"), "there are 4 scores and 3 labels"),
    ],
)
def test_options_that_contradict_the_answers_are_refused(
    kind: str, said: Said, told: str, pixels: NDArray[np.uint8]
) -> None:
    """A wrong option is no reason for wrong boxes."""
    source = foreign_detectors.model(kind)
    with pytest.raises(ExportError, match=told):
        found_in(source, run(source, pixels), said)


def test_labels_of_another_number_than_the_api_says_are_refused() -> None:
    """COCO's 80 names have the numbers 1 to 90: with gaps, or not at all."""
    shapes = {**API, "raw_detection_scores": (1, 300, 91)}
    outputs = [Output(name, np.dtype(np.float32), shape) for name, shape in shapes.items()]
    with pytest.raises(ExportError, match="of 90 classes, and the 80 labels have the numbers 1 to"):
        find(outputs, SIZE, 80, Said(), None)
    numbers = (*range(1, 80), 90)
    layout = find(outputs, SIZE, 80, Said(numbers=numbers), None)
    assert layout is not None
    assert layout.numbers == numbers
