"""What the decoding inside the graph does with thresholds, class numbers, NaN and old graphs."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import parser

from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts import Layout, append, read
from crossrun_export.foreign.said import Background, DetectionHead, LayoutName
from tests.support.foreign_layouts import assert_like, detections, run

Floats = NDArray[np.float32]
CELLS, LABELS, PIXELS = 40, 3, 100
THRESHOLDS = Thresholds(score=0.3, iou=0.5, most=10)
WIDTHS: dict[LayoutName, int] = {"rows": 6, "yolo": 4 + LABELS, "yolo-objectness": 5 + LABELS}
HEADS: dict[LayoutName, DetectionHead] = {"yolo": "sigmoid", "yolo-objectness": "sigmoid"}


def layout_of(
    name: LayoutName,
    numbers: tuple[int, ...] = (0, 1, 2),
    background: Background = "none",
) -> Layout:
    return Layout(
        layout=name,
        outputs={"rows": "found"},
        batched=True,
        columns_first=False,
        box_order="xyxy",
        box_unit="pixels",
        size=(PIXELS, PIXELS),
        numbers=numbers,
        background=background,
        head=HEADS.get(name),
    )


def source(width: int, batch: str = "batch", opset: int = 17) -> onnx.ModelProto:
    """Returns what it is given as `found` [batch, n, width]; and its names are ours."""
    shape = f"float[{batch}, n, {width}]"
    return parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": {opset}]>
        boxes ({shape} image) => ({shape} found, {shape} detection_boxes)
        {{
            scores = Identity (image)
            found = Identity (scores)
            detection_boxes = Identity (scores)
        }}""")


def chance(name: LayoutName, batch: int) -> Floats:
    """Boxes of any class anywhere."""
    draw = np.random.default_rng(batch)
    low, side = draw.uniform(0, 60, (batch, CELLS, 2)), draw.uniform(10, 40, (batch, CELLS, 2))
    scores = draw.uniform(0, 1, (batch, CELLS, WIDTHS[name] - 4))
    if name == "rows":
        scores[..., 1] = draw.integers(0, LABELS, (batch, CELLS))
    return np.concatenate([low, low + side, scores], axis=2).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("asked", [None, Thresholds(0.6, 0.2, 4), Thresholds(0.0, 1.0, 10)])
def test_thresholds_are_those_of_the_export_or_of_the_request(
    name: LayoutName, batch: int, asked: Thresholds | None
) -> None:
    """As numpy and TensorFlow read the same rows."""
    image, layout = chance(name, batch), layout_of(name)
    given: dict[str, Any] = {}
    if asked:
        given = {
            "score_threshold": np.full((batch, 1), asked.score, np.float32),
            "max_detections": np.full((batch, 1), asked.most),
        }
        if layout.overlaps:
            given["iou_threshold"] = np.full((batch, 1), asked.iou, np.float32)
    expected = read({"found": image}, layout, asked or THRESHOLDS)
    found = detections(run(append(source(WIDTHS[name]), layout, THRESHOLDS), image, **given))
    assert found.boxes.shape == (batch, THRESHOLDS.most, 4)
    assert expected.found.min() > 2
    assert_like(expected, found)


def test_each_picture_has_its_own_thresholds() -> None:
    """Pictures that share a batch get what they would get alone, and past it all is zero."""
    image, layout = chance("rows", 3), layout_of("rows")
    model = append(source(6), layout, THRESHOLDS)
    scores, most = np.array([[0.1], [0.9], [0.5]], np.float32), np.array([[2], [9], [0]])
    found = detections(run(model, image, score_threshold=scores, max_detections=most))
    for row in range(3):
        own = Thresholds(float(scores[row, 0]), 0.5, int(most[row, 0]))
        alone = read({"found": image[row : row + 1]}, layout, own)
        assert found.found[row] == alone.found[0]
        assert found.scores[row, : own.most].tolist() == alone.scores[0].tolist()
        assert not found.boxes[row, found.found[row] :].any()


def test_a_layout_without_suppression_has_no_iou_threshold() -> None:
    """A request cannot choose what does nothing."""
    names = {value.name for value in append(source(6), layout_of("rows"), THRESHOLDS).graph.input}
    assert names == {"image", "score_threshold", "max_detections"}
    dense = append(source(7), layout_of("yolo"), THRESHOLDS)
    assert "iou_threshold" in {value.name for value in dense.graph.input}


@pytest.mark.parametrize(
    ("background", "lines"), [("none", [3, 0, 1, 2, 3]), ("first", [0, 1, 2, 3])]
)
def test_numbers_become_lines_of_the_labels(background: Background, lines: list[int]) -> None:
    """What lies in a gap is dropped; a number without a label becomes the line after the last."""
    numbers = [0, 1, 2, 3, 4, 5]
    image = np.array([[[0, 0, 9, 9, 0.9 - 0.1 * n, n] for n in numbers]], np.float32)
    layout = layout_of("rows", (1, 2, 4), background)
    found = detections(run(append(source(6), layout, THRESHOLDS), image))
    assert found.classes[0, : found.found[0]].tolist() == lines
    assert_like(read({"found": image}, layout, THRESHOLDS), found)


def test_columns_that_are_no_label_count_for_nothing() -> None:
    """A background, and the gaps of COCO's numbers, never are a box's best class."""
    image = np.array([[[0, 0, 9, 9, 0.9, 0.1, 0.8, 0.6, 0.7]]], np.float32)
    layout = layout_of("yolo", (1, 3, 4))
    found = detections(run(append(source(9), layout, THRESHOLDS), image))
    assert found.found.tolist() == [1]
    assert (found.classes[0, 0], found.scores[0, 0]) == (2, pytest.approx(0.7))


@pytest.mark.parametrize("name", ["yolo", "yolo-objectness"])
def test_logits_become_probabilities_before_they_are_multiplied(name: LayoutName) -> None:
    """That of an object, too."""
    image = chance(name, 2)
    expected = read({"found": image}, layout_of(name), THRESHOLDS)
    image[..., 4:] = np.log(image[..., 4:] / (1 - image[..., 4:]))
    layout = replace(layout_of(name), head="sigmoid-logits")
    assert_like(expected, read({"found": image}, layout, THRESHOLDS))
    model = append(source(WIDTHS[name]), layout, THRESHOLDS)
    assert_like(expected, detections(run(model, image)))


@pytest.mark.parametrize(
    ("name", "column"),
    [(name, column) for name in WIDTHS for column in (0, 4, 5)],
)
def test_what_is_no_number_is_not_hidden(name: LayoutName, column: int) -> None:
    """NaN in a box, a score or a class comes out of the graph, and is refused at export."""
    image, layout = chance(name, 1), layout_of(name)
    image[0, 7, 4:] = 0.99 if name != "rows" else [0.99, 1]
    image[0, 7, column] = np.nan
    outputs = run(append(source(WIDTHS[name]), layout, THRESHOLDS), image)
    shown = outputs["detection_boxes"].sum() + outputs["detection_scores"].sum()
    assert np.isnan(shown)
    with pytest.raises(ExportError, match="not numbers"):
        read({"found": image}, layout, THRESHOLDS)


@pytest.mark.parametrize("name", ["rows", "yolo"])
@pytest.mark.parametrize("opset", [11, 15, 19, 21])
def test_graphs_of_any_opset_are_decoded(name: LayoutName, opset: int) -> None:
    """An old one is brought to a newer, a new one stays as it is."""
    image, layout = chance(name, 2), layout_of(name)
    model = append(source(WIDTHS[name], opset=opset), layout, THRESHOLDS)
    assert_like(read({"found": image}, layout, THRESHOLDS), detections(run(model, image)))


def test_what_a_loop_takes_from_around_it_keeps_its_name() -> None:
    """A source may have a loop that uses constants of the whole graph."""
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        looping (float[batch, n, 6] image) => (float[batch, n, 6] found)
        <int64 times = {2}, bool always = {1}, float[6] half = {1.0, 1.0, 1.0, 1.0, 0.5, 1.0}>
        {
            found = Loop <body: graph = each (int64 i, bool go, float[batch, n, 6] before)
                => (bool on, float[batch, n, 6] after)
            {
                on = Identity (go)
                after = Mul (before, half)
            }> (times, always, image)
        }""")
    image = chance("rows", 1)
    image[..., 4] = np.linspace(0.9, 1, CELLS)
    lower = Thresholds(score=0.2, iou=0.5, most=10)
    found = detections(run(append(model, layout_of("rows"), lower), image))
    assert found.scores[0].tolist() == pytest.approx(image[0, ::-1, 4][:10] / 4)


def test_rows_without_a_batch_need_a_source_of_one_picture() -> None:
    """Rows of several pictures could not be told apart."""
    layout = replace(layout_of("rows"), batched=False)
    with pytest.raises(ExportError, match="no dimension for the batch"):
        append(source(6), layout, THRESHOLDS)


def test_a_graph_that_cannot_be_renewed_is_refused() -> None:
    """The message has the opset, and why."""
    model = source(6, opset=11)
    model.graph.node[0].op_type = "Upsample"
    with pytest.raises(ExportError, match="has opset 11, and bringing it to 17 failed"):
        append(model, layout_of("rows"), THRESHOLDS)
