import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crossrun_export import scenes
from crossrun_export.scenes import CLASSES, canvas, compose, folder


def test_same_seed_and_index_give_the_same_picture() -> None:
    """A picture depends on its seed, its index and its size, and on nothing drawn before it."""
    first = scenes.draw(3, 17, 96)
    scenes.batch(5, 0, 3, 96)
    again = scenes.draw(3, 17, 96)
    assert np.array_equal(first.pixels, again.pixels)
    assert (first.label, first.box) == (again.label, again.box)


def test_pictures_differ_between_seeds_and_indices() -> None:
    """Neither another seed nor the next picture of the same class repeats a picture."""
    here, other_seed, other_index = (
        scenes.draw(*key, 96).pixels for key in ((1, 4), (2, 4), (1, 14))
    )
    assert not np.array_equal(here, other_seed)
    assert not np.array_equal(here, other_index)


@pytest.mark.parametrize("size", [64, 96, 256])
def test_a_picture_is_uint8_rgb_of_the_size_asked_for(size: int) -> None:
    """Any size is drawn, in the layout the server takes."""
    picture = scenes.draw(1, 0, size)
    assert picture.pixels.shape == (size, size, 3)
    assert picture.pixels.dtype == np.uint8


def test_batch_holds_the_pictures_that_draw_gives() -> None:
    """A batch is its pictures one by one, from its start on."""
    pixels, labels = scenes.batch(9, 5, 4, 48)
    one_by_one = [scenes.draw(9, index, 48) for index in range(5, 9)]
    assert np.array_equal(pixels, np.stack([each.pixels for each in one_by_one]))
    assert labels.tolist() == [each.label for each in one_by_one]


def test_every_class_is_drawn_equally_often() -> None:
    """Ten successive pictures show ten classes, whose names sort in the order of their labels."""
    labels = [scenes.draw(1, index, 32).label for index in range(20)]
    assert np.bincount(labels).tolist() == [2] * len(CLASSES)
    assert list(CLASSES) == sorted(CLASSES)


@pytest.mark.parametrize("label", range(len(CLASSES)), ids=CLASSES)
def test_box_is_tight_around_the_painted_object(label: int) -> None:
    """On a plain canvas, what is painted lies in the box and reaches all four of its sides."""
    for index in range(label, 300, len(CLASSES)):
        picture = scenes.draw_plain(1, index, 96)
        rows, columns = np.nonzero(picture.pixels.astype(int).sum(axis=2) > 60)
        painted = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1])
        assert picture.label == label
        assert np.abs(painted - picture.box).max() <= 1


def test_box_lies_in_the_picture_and_is_large_enough_to_see() -> None:
    """Objects are never cut by the picture's edge nor drawn too small to tell apart."""
    for index in range(1000):
        ymin, xmin, ymax, xmax = scenes.draw_plain(2, index, 96).box
        assert 0 <= ymin < ymax <= 96
        assert 0 <= xmin < xmax <= 96
        assert max(ymax - ymin, xmax - xmin) >= 20


def test_box_of_a_cluttered_picture_is_where_its_object_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn again without its object, a picture changes inside the box and hardly around it."""
    for index in range(20):
        whole = scenes.draw(4, index, 96)
        with monkeypatch.context() as patch:
            patch.setattr(canvas, "_blend", lambda *_: None)
            bare = scenes.draw(4, index, 96)
        changed = np.abs(whole.pixels.astype(int) - bare.pixels).sum(axis=2) > 60
        ymin, xmin, ymax, xmax = whole.box
        inside = changed[ymin:ymax, xmin:xmax].sum()
        assert inside > 50
        assert changed.sum() - inside <= 0.1 * inside


def test_the_task_is_not_solved_by_colour_and_place() -> None:
    """A linear classifier on small pictures stays far from the model's figure."""
    train, train_labels = _small_pictures(1, 1500)
    held_out, held_out_labels = _small_pictures(2, 500)
    targets = np.eye(len(CLASSES))[train_labels]
    ridge = train.T @ train + 50 * np.eye(train.shape[1])
    scores = held_out @ np.linalg.solve(ridge, train.T @ targets)
    assert (scores.argmax(axis=1) == held_out_labels).mean() < 0.4


def _small_pictures(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    pixels, labels = scenes.batch(seed, 0, count, 96)
    small = np.stack([cv2.resize(each, (12, 12), interpolation=cv2.INTER_AREA) for each in pixels])
    flat = small.reshape(count, -1) / 127.5 - 1
    return np.hstack([flat, np.ones((count, 1))]), labels


def test_folder_is_laid_out_like_imagenet(tmp_path: Path) -> None:
    """Pictures lie in a folder of their class and hold, losslessly, what draw gives."""
    scenes.write_folder(tmp_path / "pictures", 12, seed=3, size=64)
    files = sorted((tmp_path / "pictures").glob("*/*.png"))
    assert len(files) == 12
    assert all(file.name.startswith(f"{file.parent.name}_0000") for file in files)
    second = tmp_path / "pictures" / CLASSES[1] / f"{CLASSES[1]}_00001.png"
    with Image.open(second) as decoded:
        assert np.array_equal(np.asarray(decoded), scenes.draw(3, 11, 64).pixels)


def test_folder_names_every_box_in_coco_form(tmp_path: Path) -> None:
    """boxes.json ties every picture to its class and to its box as [x, y, width, height]."""
    scenes.write_folder(tmp_path / "pictures", 10, seed=3, size=64)
    coco = json.loads((tmp_path / "pictures" / "boxes.json").read_text())
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert len(coco["annotations"]) == 10
    for index, annotation in enumerate(coco["annotations"]):
        assert files[annotation["image_id"]].startswith(names[annotation["category_id"]] + "/")
        ymin, xmin, ymax, xmax = scenes.draw(3, index, 64).box
        assert annotation["bbox"] == [xmin, ymin, xmax - xmin, ymax - ymin]


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Pictures are never mixed into a folder that holds something else."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="expected a new or an empty folder"):
        scenes.write_folder(tmp_path, 10, seed=1, size=32)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_a_failed_run_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder appears whole or not at all."""

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(folder, "_write_png", full)
    with pytest.raises(OSError, match="no space left"):
        scenes.write_folder(tmp_path / "pictures", 10, seed=1, size=32)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_several_objects_depends_on_its_seed_and_index_alone() -> None:
    """Drawn again it is the same to the pixel, and its neighbours and other seeds differ."""
    first, again = (scenes.draw_several(3, 17, 96) for _ in range(2))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.things == again.things
    for other in (scenes.draw_several(3, 18, 96), scenes.draw_several(4, 17, 96)):
        assert not np.array_equal(first.pixels, other.pixels)


def test_one_to_five_objects_of_all_classes_overlap_inside_the_picture() -> None:
    """Every count and every class comes up, boxes overlap, and none leaves the picture."""
    groups = [scenes.draw_several(2, index, 96) for index in range(200)]
    assert {len(group.things) for group in groups} == {1, 2, 3, 4, 5}
    things = [thing for group in groups for thing in group.things]
    assert {thing.label for thing in things} == set(range(len(CLASSES)))
    corners = np.array([thing.box for thing in things])
    assert (corners >= 0).all()
    assert (corners <= 96).all()
    assert sum(_overlap(group.things) for group in groups) > 50


def _overlap(things: tuple[scenes.Thing, ...]) -> bool:
    boxes = np.array([thing.box for thing in things])
    lows = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    highs = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return bool((lows < highs).all(axis=2).sum() > len(boxes))


def test_every_object_of_several_is_where_its_box_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn again without objects, a picture changes inside each box and hardly outside of all."""
    for index in range(20):
        whole = scenes.draw_several(4, index, 160)
        with monkeypatch.context() as patch:
            patch.setattr(compose, "paint", _painter_of_another_canvas())
            bare = scenes.draw_several(4, index, 160)
        changed = np.abs(whole.pixels.astype(int) - bare.pixels).sum(axis=2) > 60
        outside = changed.copy()
        for ymin, xmin, ymax, xmax in (thing.box for thing in whole.things):
            assert changed[ymin:ymax, xmin:xmax].sum() > 50
            outside[ymin:ymax, xmin:xmax] = False
        assert outside.sum() <= 0.1 * changed.sum()


def _painter_of_another_canvas() -> Callable[..., scenes.Box]:
    """Paints as `paint` does, with the same luck, but where nobody looks."""
    canvases: list[scenes.Pixels] = []

    def paint(seen: scenes.Pixels, *how: Any) -> scenes.Box:
        canvases[:] = canvases or [seen.copy()]
        return canvas.paint(canvases[0], *how)

    return paint


def test_a_folder_of_several_objects_names_every_box(tmp_path: Path) -> None:
    """Pictures lie flat; boxes.json holds each object with its class, back to front."""
    scenes.write_folder(tmp_path / "several", 6, seed=3, size=64, objects="several")
    coco = json.loads((tmp_path / "several" / "boxes.json").read_text())
    ids = [annotation["id"] for annotation in coco["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    for image in coco["images"]:
        group = scenes.draw_several(3, image["id"], 64)
        with Image.open(tmp_path / "several" / image["file_name"]) as decoded:
            assert np.array_equal(np.asarray(decoded), group.pixels)
        found = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        assert [a["category_id"] for a in found] == [thing.label for thing in group.things]
        for annotation, thing in zip(found, group.things, strict=True):
            ymin, xmin, ymax, xmax = thing.box
            assert annotation["bbox"] == [xmin, ymin, xmax - xmin, ymax - ymin]
