"""Mean average precision, and data sets in COCO's form."""

from pathlib import Path
from typing import Any

import pytest

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.detection.average_precision import average_precision
from crossrun_bench.measurements.detection.coco import scenes
from crossrun_bench.measurements.detection.result import Detection, Truth
from tests.support.coco import BOX, COLOURS, OTHER, data_set


def shifted(pixels: float) -> tuple[float, ...]:
    return (BOX[0], BOX[1] + pixels, BOX[2], BOX[3] + pixels)


HALF = 51 / 101  # recall is looked at in 101 places, from 0 to 1: of one object in two, in 51
Said = list[tuple[float, tuple[float, ...]]]
CASES: dict[str, tuple[Said, float, float | None]] = {
    "perfect": ([(0.9, BOX), (0.8, OTHER)], 1.0, 1.0),
    "nothing": ([], 0.0, 0.0),
    "one missed": ([(0.9, BOX)], HALF, HALF),
    # An IoU of 76 / 124 is enough for 0.5, 0.55 and 0.6.
    "one shifted": ([(0.9, shifted(24)), (0.8, OTHER)], (3 + 7 * HALF * 0.5) / 10, 1.0),
    # The second answer to one object is wrong: precision at full recall is 2 / 3.
    "doubled": ([(0.9, BOX), (0.8, BOX), (0.7, OTHER)], HALF + (1 - HALF) * 2 / 3, None),
    "doubled last": ([(0.9, BOX), (0.7, OTHER), (0.6, BOX)], 1.0, 1.0),
    "wrong first": ([(0.9, (0, 0, 9, 9)), (0.8, BOX)], HALF / 2, HALF / 2),
}


@pytest.mark.parametrize("case", CASES)
def test_average_precision_is_what_a_hand_computes(case: str) -> None:
    """Of two objects of a class in one picture, and none in another."""
    found, mean, at_half = CASES[case]
    truths = ((Truth(3, BOX), Truth(3, OTHER)), ())
    said = (tuple(Detection(3, score, box) for score, box in found), ())
    precision = average_precision(truths, said)
    assert precision.mean == pytest.approx(mean)
    assert precision.at_half == pytest.approx(mean if at_half is None else at_half)
    assert precision.by_class == {3: pytest.approx(mean)}


def test_classes_count_alike_and_crowds_not() -> None:
    """A class that is never found halves the mean; one without objects, or a crowd, is nothing."""
    truths = ((Truth(0, BOX), Truth(1, OTHER), Truth(1, BOX, crowd=True), Truth(2, BOX, True)),)
    said = ((Detection(0, 0.9, BOX), Detection(7, 0.9, BOX), Detection(1, 0.8, BOX)),)
    precision = average_precision(truths, said)
    assert precision.by_class == {0: pytest.approx(1), 1: 0}
    assert precision.mean == pytest.approx(0.5)


# Data sets.


def test_a_data_set_is_read(tmp_path: Path) -> None:
    """Classes by the names of the categories, boxes as edges; from a folder or its JSON file."""
    source = data_set(tmp_path / "set")
    found = scenes(source, list(COLOURS))
    assert found == scenes(source / "boxes.json", list(COLOURS))
    assert found.names == tuple(f"{i}.png" for i in range(6))
    assert found.labelled == (0, 1, 2)
    assert found.truths
    assert found.truths[1] == (
        Truth(0, (8, 4, 28, 24)),
        Truth(1, (16, 36, 36, 56)),
        Truth(2, (24, 68, 44, 88)),
    )


def test_cocos_own_folders_are_found(tmp_path: Path) -> None:
    """`annotations/*.json` beside the folders of pictures."""
    source = data_set(tmp_path / "coco")
    (source / "annotations").mkdir()
    file = (source / "boxes.json").rename(source / "annotations" / "instances.json")
    assert scenes(source, list(COLOURS)) == scenes(file, list(COLOURS))


IMAGE = {"id": 0, "file_name": "0.png", "width": 128, "height": 96}
NOTE = {"image_id": 0, "category_id": 10, "bbox": [1, 1, 5, 5]}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no list": ({"images": {}}, r"not in COCO's form: images: expected a list, got dict"),
    "no box": (
        {"annotations": [{"image_id": 0, "category_id": 10}]},
        r"annotations\[0\]: 'bbox' is missing",
    ),
    "short box": (
        {"annotations": [NOTE | {"bbox": [1, 2, 3]}]},
        r"annotations\[0\]: expected a bbox \[x, y, width, height\], got \[1.0, 2.0, 3.0\]",
    ),
    "inside out": ({"annotations": [NOTE | {"bbox": [1, 2, -3, 4]}]}, r"expected a bbox"),
    "stray": ({"annotations": [NOTE | {"image_id": 77}]}, r"of an image or a category that is not"),
    "unknown class": (
        {"annotations": [NOTE | {"category_id": 1}]},
        r"annotations\[0\] is a 'never seen', which is no label of the model",
    ),
    "no object": ({"annotations": []}, r"no object to find in 6 pictures"),
    "no picture": (
        {"images": [IMAGE | {"file_name": "x.png"}], "annotations": [NOTE]},
        r"'x.png' is not in .* or a folder of it",
    ),
    "other size": (
        {"images": [IMAGE | {"width": 96, "height": 128}], "annotations": [NOTE]},
        r"0.png: 128 x 96 pixels, but .*boxes.json says 96 x 128",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_data_set_is_refused(case: str, tmp_path: Path) -> None:
    """What is wrong, where, and what was expected."""
    changes, text = BAD[case]
    source = data_set(tmp_path / "set", changes)
    with pytest.raises(BenchError, match=text):
        scenes(source, list(COLOURS))


def test_a_folder_with_several_files_of_json_is_refused(tmp_path: Path) -> None:
    """Two, or one that is no JSON."""
    source = data_set(tmp_path / "set")
    (source / "more.json").write_text("{")
    with pytest.raises(BenchError, match=r"expected one JSON .* got boxes.json, more.json"):
        scenes(source, list(COLOURS))
    with pytest.raises(BenchError, match=r"more.json: not in COCO's form: "):
        scenes(source / "more.json", list(COLOURS))


def test_pictures_without_boxes_are_taken_as_they_are(tmp_path: Path) -> None:
    """A folder of them, or one; nobody knows the truth."""
    source = data_set(tmp_path / "set") / "pictures"
    found = scenes(source, list(COLOURS))
    assert found.names == tuple(f"{i}.png" for i in range(6))
    assert found.truths is None
    assert scenes(source / "3.png", list(COLOURS)).names == ("3.png",)
