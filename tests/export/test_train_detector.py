"""Training a detector: what it writes, going on after an end, and what the bundled one reaches."""

import json
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from crossrun_export import scenes
from crossrun_export.detector import data, load, measure, network
from crossrun_export.detector.backbone import load_backbone
from crossrun_export.detector.settings import Weights
from crossrun_export.detector.train import UNFINISHED, train
from crossrun_export.errors import ExportError
from crossrun_export.train import HELD_OUT_SEED
from tests.support.keras_models import eagerly
from tests.support.running import run_here
from tests.support.training import SMALL, few

# Keras writes HDF5 through a protocol that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAME = "detector_0.25_32"


def weights_of(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    found = {}

    def keep(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(file) as content:
        content.visititems(keep)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody ended."""
    output: Path = tmp_path_factory.mktemp("trained")
    with eagerly():
        train(few(), SMALL, output, "few")
    return output


def test_training_writes_weights_that_reach_the_figures_beside_them(trained: Path) -> None:
    """Two files, nothing else; loaded again the detector measures what the notes say."""
    assert sorted(file.name for file in trained.iterdir()) == [
        f"{NAME}.json",
        f"{NAME}.weights.h5",
    ]
    notes = json.loads((trained / f"{NAME}.json").read_text())
    source = load.load(Weights(str(trained / f"{NAME}.weights.h5")), None)
    held_out = few().held_out
    found = measure.detect(source.model, held_out, measure.ALL)
    reached = measure.precision((example.objects for example in held_out), found)
    assert (notes["map"], notes["map_at_0.5"]) == pytest.approx((reached.mean, reached.at_half))
    assert notes["data"] == {"source": "few", "pictures": 8, "held_out": 4}
    assert source.labels == scenes.CLASSES


def test_training_that_was_ended_goes_on_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    """Killed in its second epoch, then run again: as if it had never been ended."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)])
    backup = tmp_path / UNFINISHED / "backup"
    deadline = time.monotonic() + 120
    while not (tmp_path / "second").exists() and time.monotonic() < deadline:
        assert child.poll() is None, "it ended by itself"
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list(backup.iterdir())
    assert not list(tmp_path.glob("*.h5"))
    with eagerly():
        train(few(), SMALL, tmp_path, "few")
    expected, got = (weights_of(one / f"{NAME}.weights.h5") for one in (trained, tmp_path))
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    assert sorted(p.name for p in tmp_path.glob("*detector*")) == sorted(
        p.name for p in trained.iterdir()
    )


# Waits for ever in its second epoch.
CHILD = """
import sys, time
from pathlib import Path
from crossrun_export.detector import train
from tests.support.keras_models import eagerly
from tests.support.training import SMALL
from tests.support.training import few
output = Path(sys.argv[1])
begin = train.Batches.begin
def waiting(self, epoch):
    begin(self, epoch)
    if epoch == 1:
        (output / "second").touch()
        time.sleep(1000)
train.Batches.begin = waiting
with eagerly():
    train.train(few(), SMALL, output, "few")
"""


def test_another_training_does_not_go_on_with_what_is_there(tmp_path: Path) -> None:
    """What other settings began is refused and left as it is."""
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "training.json").write_text("{}")
    with pytest.raises(ExportError, match="holds another training"):
        train(few(), SMALL, tmp_path, "few")
    assert [file.name for file in tmp_path.iterdir()] == [UNFINISHED]


def test_epochs_depend_on_seed_and_epoch_alone() -> None:
    """The batches of the second epoch are the same whether or not there was a first."""
    from crossrun_export.detector.train import Batches

    straight, through = Batches(few(), SMALL), Batches(few(), SMALL)
    _ = through[0]
    for one in (straight, through):
        one.begin(1)
    for mine, its in zip(straight[1], through[1], strict=True):
        np.testing.assert_array_equal(mine, its)
    straight.begin(0)
    assert not np.array_equal(straight[1][0], through[1][0])


# --- Weights to start from -------------------------------------------------------------------


def test_the_backbone_starts_from_the_bundled_classifier() -> None:
    """Shared layers have its weights, at any size; the heads keep their own."""
    detector = network.build(0.25, 64, 3)
    before = detector.get_layer("logits_8").get_weights()
    load_backbone(detector, "bundled", 0.25)
    inside = resources.files("crossrun_export") / "bundled" / "mobilenet_0.25_96.weights.h5"
    with resources.as_file(inside) as file:
        known = [values.shape for values in weights_of(file).values()]
        values = detector.get_layer("conv_pw_13").get_weights()[0]
        assert values.shape in known
        assert any(np.array_equal(values, one) for one in weights_of(file).values())
    np.testing.assert_array_equal(before[1], detector.get_layer("logits_8").get_weights()[1])


def test_a_backbone_of_a_file_is_that_files(tmp_path: Path) -> None:
    """A MobileNet's own weights file is taken, with the classifier or without."""
    base = network.backbone(0.25, 64)
    base.save_weights(tmp_path / "own.weights.h5")
    detector = network.build(0.25, 64, 3)
    load_backbone(detector, str(tmp_path / "own.weights.h5"), 0.25)
    for name in ("conv1", "conv_pw_13"):
        mine, its = (one.get_layer(name).get_weights()[0] for one in (detector, base))
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    ("weights", "alpha", "told"),
    [
        ("bundled", 0.5, "are of alpha 0.25"),
        ("nowhere.h5", 0.25, "random or a file; nowhere.h5 is none"),
        (__file__, 0.25, "does not fit a MobileNet"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: str, alpha: float, told: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ExportError, match=told):
        load_backbone(network.build(alpha, 32, 3), weights, alpha)


# --- The command and the bundled detector ----------------------------------------------------


@pytest.mark.long
def test_the_command_trains_on_a_data_set_and_tells_what_was_reached(tmp_path: Path) -> None:
    """From a folder that `pictures` drew, to weights and a line with both figures."""
    scenes.write_folder(tmp_path / "drawn", 10, seed=3, size=48, objects="several")
    options = ["--epochs", "1", "--batch", "4", "--size", "32", "--output", str(tmp_path / "out")]
    words = ["train-detector", "--data", str(tmp_path / "drawn"), *options]
    done = run_here(["crossrun-export", *words])
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1: loss" in done.stderr
    assert "mAP@0.5" in done.stderr
    assert (tmp_path / "out" / f"{NAME}.weights.h5").exists()


def test_the_command_tells_bad_data_in_one_line(tmp_path: Path) -> None:
    """Exit code 1, no traceback, nothing written."""
    command = ["crossrun-export", "train-detector", "--data", str(tmp_path / "none")]
    done = run_here([*command, "--output", str(tmp_path / "out")])
    assert done.returncode == 1
    assert done.stderr.startswith("crossrun-export: ")
    assert "cannot be read as COCO's JSON" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_bundled_detector_reaches_its_figures() -> None:
    """Within two points on 200 held-out pictures, from a file of under 4 MB."""
    folder = resources.files("crossrun_export") / "bundled"
    notes = json.loads((folder / f"{load.NAME}.json").read_text())
    with resources.as_file(folder / f"{load.NAME}.weights.h5") as file:
        assert file.stat().st_size < 4_000_000
    source = load.load(Weights(), None)
    groups = (scenes.draw_several(HELD_OUT_SEED, index, 160) for index in range(200))
    examples = [data.drawing(group) for group in groups]
    found = measure.detect(source.model, examples, measure.ALL)
    reached = measure.precision((example.objects for example in examples), found)
    assert reached.at_half >= notes["map_at_0.5"] - 0.02
    assert reached.mean >= notes["map"] - 0.02
