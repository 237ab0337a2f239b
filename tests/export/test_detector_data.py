"""What detectors are trained and measured on: COCO's JSON, pictures brought to size, cells."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crossrun_export import scenes
from crossrun_export.detector import coco, data, measure, network
from crossrun_export.detector.augment import augmented
from crossrun_export.detector.data import Example, Objects
from crossrun_export.detector.measure import Detections
from crossrun_export.detector.settings import Data, Training
from crossrun_export.detector.targets import Targets
from crossrun_export.errors import ExportError

# --- COCO's JSON -----------------------------------------------------------------------------


def valid() -> dict[str, Any]:
    """Two categories whose ids are out of order, and one picture of 40 x 20 pixels."""
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [10, 5, 20, 10]}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }


def write(folder: Path, content: Any) -> Path:
    Image.new("RGB", (40, 20)).save(folder / "a.png")
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder


def test_coco_gives_shares_and_positions(tmp_path: Path) -> None:
    """Classes are in the order of their ids; boxes are ymin xmin ymax xmax in shares."""
    found = coco.read(write(tmp_path, valid()), None)
    assert found.classes == ("car", "dog")
    assert found.pictures[0].labels.tolist() == [1]
    assert found.pictures[0].boxes.tolist() == [[0.25, 0.25, 0.75, 0.75]]


def test_crowds_and_boxes_without_area_are_left_out(tmp_path: Path) -> None:
    """Neither is an object to be found; the picture stays."""
    content = valid()
    content["annotations"][0]["iscrowd"] = 1
    content["annotations"].append(valid()["annotations"][0] | {"bbox": [3, 3, 0, 5]})
    (picture,) = coco.read(write(tmp_path, content), None).pictures
    assert picture.boxes.shape == (0, 4)


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "'categories' is missing": lambda c: c.pop("categories"),
    "'bbox' is missing": lambda c: c["annotations"][0].pop("bbox"),
    "no known image": lambda c: c["annotations"][0].update(image_id=8),
    "of no known image and category": lambda c: c["annotations"][0].update(category_id=4),
    r"has the box \[1, 2, -3, 4\]": lambda c: c["annotations"][0].update(bbox=[1, 2, -3, 4]),
    "not enough values": lambda c: c["annotations"][0].update(bbox=[1, 2, 3]),
    "no images or no categories": lambda c: c["images"].clear(),
    "b.png is missing": lambda c: c["images"][0].update(file_name="b.png"),
}


@pytest.mark.parametrize("told", BROKEN)
def test_what_is_not_coco_is_named(tmp_path: Path, told: str) -> None:
    """The message says what is wrong, in which file."""
    content = valid()
    BROKEN[told](content)
    with pytest.raises(ExportError, match=told):
        coco.read(write(tmp_path, content), None)


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"categories": 3}'])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever it is, one line tells."""
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(ExportError, match=r"boxes\.json"):
        coco.read(tmp_path, None)


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """It is found when it is looked at."""
    write(tmp_path, valid())
    (tmp_path / "a.png").write_bytes(b"no picture")
    pictures = data.fitted(coco.read(tmp_path, None), (32, 32), [0])
    with pytest.raises(ExportError, match=r"a\.png cannot be read"):
        pictures[0]


def test_one_picture_in_ten_is_held_out(tmp_path: Path) -> None:
    """What is measured on is never trained on; drawn folders are such data sets."""
    scenes.write_folder(tmp_path / "drawn", 20, seed=3, size=64, objects="several")
    found = data.load(Data(str(tmp_path / "drawn")), Training(size=64))
    assert (len(found.training), len(found.held_out)) == (18, 2)
    group = scenes.draw_several(3, 19, 64)
    assert np.array_equal(found.held_out[1].pixels, group.pixels)
    np.testing.assert_allclose(
        found.held_out[1].objects.boxes * 64, [thing.box for thing in group.things], atol=1e-4
    )


def test_held_out_pictures_of_other_categories_are_refused(tmp_path: Path) -> None:
    """Positions of labels would not mean the same."""
    other = tmp_path / "other"
    other.mkdir()
    write(other, valid())
    scenes.write_folder(tmp_path / "drawn", 10, seed=3, size=64, objects="several")
    with pytest.raises(ExportError, match="has other categories"):
        data.load(Data(str(tmp_path / "drawn"), held_out=other), Training(size=64))


@pytest.mark.parametrize("wanted", [Data(folder=Path()), Data(held_out=Path())])
def test_options_of_data_sets_are_not_for_drawn_pictures(wanted: Data) -> None:
    """They would do nothing."""
    with pytest.raises(ExportError, match="of your own"):
        data.load(wanted, Training())


def test_the_held_out_series_is_never_trained_on() -> None:
    """Its seed is refused."""
    with pytest.raises(ExportError, match="held-out series"):
        data.load(Data(), Training(seed=1_000_003))


# --- To size ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 41), (33, 33), (500, 1), (7, 3)])
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_a_box_stays_on_its_object(width: int, height: int, resize: Any) -> None:
    """White at one half of a black picture is white inside the moved box, and only there."""
    image = Image.new("RGB", (width, height))
    image.paste((255, 255, 255), (0, 0, max(1, width // 2), height))
    pixels, (scale, offset) = data.fit(image, (96, 96), resize)
    ymin, xmin = 96 * offset
    ymax, xmax = 96 * (np.array([1, max(1, width // 2) / width]) * scale + offset)
    rows, columns = np.nonzero(pixels[..., 0] > 180)
    assert abs(rows.min() - ymin) <= 1
    assert abs(rows.max() + 1 - ymax) <= 1
    assert abs(columns.min() - xmin) <= 1
    assert abs(columns.max() + 1 - xmax) <= 0.6 + 48 / width  # blurred by so much
    grey = (pixels == data.GREY).all(axis=2).sum()
    whole = np.prod(np.round(96 * scale))
    assert grey == (96 * 96 - whole if resize == "letterbox" else 0)


@pytest.mark.parametrize("size", [(40, 80), (64, 64), (90, 30)])
def test_a_box_of_a_cropped_picture_is_where_its_object_is(size: tuple[int, int]) -> None:
    """The middle is cut out, with the input's aspect; what lies outside of it lies past 0 or 1."""
    image = Image.new("RGB", (200, 100))
    image.paste((255, 255, 255), (90, 40, 110, 60))
    pixels, (scale, offset) = data.fit(image, size, "crop")
    box = (np.array([[0.4, 0.45], [0.6, 0.55]]) * scale + offset) * size
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    painted = [[rows.min(), columns.min()], [rows.max() + 1, columns.max() + 1]]
    assert np.abs(painted - box).max() <= 1
    corners = np.array([[0, 0], [1, 1]]) * scale + offset
    assert (corners[0] < 0).all()
    assert (corners[1] > 1).all()


def test_boxes_follow_their_objects_through_augmentation() -> None:
    """Wherever a white rectangle goes, mirrored, scaled, cut, its box goes with it."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[10:30, 20:44] = 255
    boxes = np.array([[10, 20, 30, 44]], np.float32) / np.float32(64)
    example = Example(pixels, Objects(boxes, np.array([2])))
    views = [augmented(example, np.random.default_rng(seed)) for seed in range(60)]
    for view in views:
        white = view.pixels.astype(int).sum(axis=2) > 550
        if not len(view.objects.labels):
            assert white.sum() < 20 * 24 / 2
            continue
        rows, columns = np.nonzero(white)
        painted = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
        assert np.abs(painted - 64 * view.objects.boxes[0]).max() <= 1.5
    assert len({tuple(view.objects.boxes.ravel().round(3)) for view in views}) > 20


# --- Cells -----------------------------------------------------------------------------------


def test_every_object_has_cells_that_answer_for_it() -> None:
    """Cells near its middle, of the level for its size, have its box and its class."""
    boxes = np.array(
        [(8, 8, 40, 40), (60, 60, 130, 150), (0, 0, 160, 150)], np.float32
    ) / np.float32(160)
    truth = Targets(160, 4)(Objects(boxes, np.array([1, 3, 0])))
    middles, strides = network.cells(160)
    for box, label, stride in zip(boxes, (1, 3, 0), (8, 16, 32), strict=True):
        mine = (truth[:, :4] == box).all(axis=1) & (truth[:, 4 + label] == 1)
        assert set(strides[mine]) == {stride}
        away = np.abs(middles[mine] / 160 - (box[:2] + box[2:]) / 2).max(axis=1)
        assert (away * 160 < 1.5 * stride).all()
    assert set(truth[:, 4:].sum(axis=1)) == {0, 1}


def test_of_two_objects_in_one_place_the_smaller_has_the_cells() -> None:
    """It would have none else."""
    boxes = np.array([(60, 60, 90, 90), (52, 52, 98, 98)], np.float32) / np.float32(160)
    truth = Targets(160, 2)(Objects(boxes, np.array([0, 1])))
    middle = np.argmin(np.abs(network.cells(160)[0] - 75).max(axis=1))
    assert truth[middle].tolist() == pytest.approx([*boxes[0], 1, 0])


def test_a_picture_without_objects_asks_nothing_of_any_cell() -> None:
    """All of it is background."""
    nothing = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert not Targets(64, 2)(nothing).any()


# --- mAP -------------------------------------------------------------------------------------


def test_precision_of_known_detections() -> None:
    """All right is 1, half of the objects found is about a half, shifted boxes count at 0.5."""
    boxes = np.array([(0.1, 0.1, 0.3, 0.3), (0.5, 0.5, 0.9, 0.9)], np.float32)
    truth = [Objects(boxes, np.array([0, 0]))]

    def reached(found: list[Any], count: int) -> measure.AveragePrecision:
        scores = np.array([[0.9, 0.8]], np.float32)
        classes = np.zeros((1, 2), np.int64)
        detections = Detections(np.array([found]), scores, classes, np.array([count]))
        return measure.precision(truth, detections)

    assert reached([*boxes], 2) == measure.AveragePrecision(1.0, 1.0)
    assert reached([*boxes], 1).at_half == pytest.approx(0.5, abs=0.01)
    shifted = reached([*np.add(boxes, (0, 0.05, 0, 0.05))], 2)
    assert shifted.at_half == 1.0
    assert 0.1 < shifted.mean < 0.6
    assert reached([*boxes], 0) == measure.AveragePrecision(0.0, 0.0)
