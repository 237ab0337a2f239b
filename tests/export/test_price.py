"""The price of a precision: on which pictures it is measured, and what it may be."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossrun_export import pictures, price, sources
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Limits
from crossrun_export.price import Price

# --- What it is measured on ------------------------------------------------------------------


def test_no_picture_is_both_calibrated_and_measured_on(
    small: sources.Source, drawings: Path, tmp_path: Path
) -> None:
    """One folder is divided, copies of a picture included; two folders give up what they share."""
    shutil.copytree(drawings / "label 0", tmp_path / "copies")
    for calibration, measuring, expected in (
        (drawings, None, (34, 102)),
        (drawings, drawings, (34, 102)),
        (drawings, tmp_path / "copies", (64, 34 - len(range(0, 34, 4)))),
        (None, drawings, (64, 136)),
    ):
        first, second = pictures.for_both(small, calibration, measuring)
        assert not set(first.hashes) & set(second.hashes)
        assert len(first.names) == expected[0]
        assert len(second.names) >= expected[1]


def test_too_few_pictures_are_refused_with_their_number(
    small: sources.Source, drawings: Path, tmp_path: Path
) -> None:
    """The error says how many there were, how many it wants, and where the others went."""
    few = drawings / "label 0"
    with pytest.raises(
        ExportError,
        match=r"has 9 pictures to calibrate on \(one in 4 of 34, .*\); expected 32 or more",
    ):
        pictures.for_both(small, few, None)
    shutil.copytree(few, tmp_path / "few")
    for file in sorted((tmp_path / "few").iterdir())[20:]:
        file.unlink()
    with pytest.raises(ExportError, match="has 20 pictures to calibrate on; expected 32"):
        pictures.for_both(small, tmp_path / "few", drawings / "label 1")


def test_few_pictures_are_looked_at_in_four_views(small: sources.Source, drawings: Path) -> None:
    """Stretched, cropped, and both mirrored: the first as Keras loads it, the crop a close-up."""
    file = next(drawings.rglob("*.png"))
    found = pictures.load(small, drawings, [file])
    stretched, cropped, mirrored, _ = found.views()
    loaded = keras.utils.load_img(file, target_size=small.size, interpolation="bilinear")
    assert np.array_equal(stretched[0], np.asarray(loaded))
    assert np.array_equal(mirrored[0], stretched[0, :, ::-1])
    inner = stretched[0, 4:-4, 4:-4].astype(int)
    assert np.abs(cropped[0].mean(axis=(0, 1)) - inner.mean(axis=(0, 1))).max() < 4
    assert not np.array_equal(cropped, stretched)


def test_plenty_of_pictures_are_looked_at_once() -> None:
    """With so many, one view of each says enough, and three more would take too long."""
    many = pictures.PLENTY
    pixels = np.zeros((many, 1, 1, 3), np.uint8)
    for count, views in ((many - 1, 4), (many, 1)):
        names = tuple(map(str, range(count)))
        some = pictures.Pictures(pixels[:count], pixels[:count], names, (), None)
        assert len(list(some.views())) == views


# --- Limits ----------------------------------------------------------------------------------


def _price(**changes: Any) -> Price:
    labelled: dict[str, Any] = {"top1": 0.80, "top1_change": -0.01, "top5": 0.9, "top5_change": 0.0}
    parity: dict[str, Any] = {
        "images": 100,
        "max_abs_diff": 0.1,
        "top1_agreement": 0.9,
        "top5_agreement": 0.9,
        "alike": False,
    }
    return Price(**(parity | {"views": 4, "worst": "cat.jpg"} | labelled | changes))


def test_a_price_is_held_against_its_limits() -> None:
    """A drop of the very limit passes, more does not; without labels agreement is what counts."""
    price.check(_price(), Limits(), "int8")
    with pytest.raises(
        ExportError,
        match=r"^int8 loses 1.01 points of top-1, allowed are 1.00, on 100 pictures in 4 views; "
        r"the worst is cat.jpg; --max-top1-drop sets another limit$",
    ):
        price.check(_price(top1_change=-0.0101), Limits(), "int8")
    unlabelled = {"top1": None, "top1_change": None, "top5": None, "top5_change": None}
    price.check(_price(**unlabelled), Limits(), "int8")
    with pytest.raises(ExportError, match=r"int8 agrees with the original on 70.00%, required are"):
        price.check(_price(**unlabelled, top1_agreement=0.7), Limits(), "int8")
    with pytest.raises(ExportError, match="fp16 has scores that are no numbers"):
        price.check(_price(max_abs_diff=float("nan")), Limits(100, 0), "fp16")


def test_the_price_counts_every_view_of_every_picture(small: sources.Source) -> None:
    """Shares over all views; the worst picture is named by its own name, whichever view it was."""
    some = pictures.drawn(small, 1, 2)
    labelled = pictures.Pictures(some.stretched, some.cropped, ("a", "b"), (), np.array([0, 1]))
    right, wrong = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.9, 0.1], [0.6, 0.4]])
    cost = price.price([right, right], [right, wrong], labelled)
    assert (cost.images, cost.views, cost.worst) == (2, 2, "b")
    assert (cost.top1, cost.top1_change, cost.top1_agreement) == (0.75, -0.25, 0.75)
    assert (cost.top5, cost.top5_change) == (None, None)  # of two classes
    unlabelled = pictures.Pictures(some.stretched, some.cropped, ("a", "b"), (), None)
    assert price.price([right], [wrong], unlabelled).top1 is None
