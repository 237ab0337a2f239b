import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from crossrun_export import train
from crossrun_export.scenes import CLASSES, Scene, draw
from tests.support.keras_models import eagerly

# Keras writes HDF5 through a protocol that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WEIGHTS = f"{train.NAME}.weights.h5"
NOTES = f"{train.NAME}.json"


def test_training_writes_weights_that_reach_the_figure_beside_them(tmp_path: Path) -> None:
    """Weights load into a fresh model, which measures what the notes say."""
    with eagerly():
        top1 = train.train(tmp_path, pictures=32, epochs=1, held_out=20)
    notes = json.loads((tmp_path / NOTES).read_text())
    assert sorted(file.name for file in tmp_path.iterdir()) == [NOTES, WEIGHTS]
    assert notes["top1"] == top1
    assert notes["classes"] == list(CLASSES)
    assert _measured(tmp_path / WEIGHTS, 20) == top1


def test_training_on_the_held_out_series_is_refused(tmp_path: Path) -> None:
    """The figure can never be measured on pictures the model has seen."""
    with pytest.raises(ValueError, match="held-out"):
        train.train(tmp_path / "out", seed=train.HELD_OUT_SEED)
    assert not (tmp_path / "out").exists()


def test_a_close_up_shows_its_object_whole_and_large() -> None:
    """Wherever the object lies, its close-up cuts nothing off and holds little else."""
    for index in range(60):
        ymin, xmin, ymax, xmax = box = draw(1, index, train.SIZE).box
        white = np.zeros((train.SIZE, train.SIZE, 3), np.uint8)
        white[ymin:ymax, xmin:xmax] = 255
        near = train._close_up(Scene(white, 0, box), np.random.default_rng(index))
        rows, columns = np.nonzero(near[..., 0] > 127)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert near.shape == (48, 48, 3)
        assert 48 / 1.8 < max(height, width) <= 48
        assert height / width == pytest.approx((ymax - ymin) / (xmax - xmin), rel=0.15)


def test_shipped_weights_reach_the_shipped_figure() -> None:
    """The bundled model is within two points of its figure on 500 pictures it never saw."""
    bundled = resources.files("crossrun_export") / "bundled"
    notes = json.loads((bundled / NOTES).read_text())
    with resources.as_file(bundled / WEIGHTS) as weights:
        assert weights.stat().st_size < 2_000_000
        assert _measured(weights, 500) >= notes["top1"] - 0.02


def _measured(weights: Path, count: int) -> float:
    model = train.build()
    model.load_weights(weights)
    pictures = [draw(train.HELD_OUT_SEED, index, train.SIZE) for index in range(count)]
    return train.evaluate(model, pictures)
