"""A proof that cannot be used: of another model, damaged, or with a tolerance that is no number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import models, proofs
from tests.support.configs import parameter
from tests.support.proofs import TWO, load, outputs, refusal


def test_an_output_that_a_proof_leaves_out_is_told(tmp_path: Path) -> None:
    """What nobody compared is not said to be proven."""
    models.write(tmp_path, "both", models.sum_and_difference(), "max_batch_size: 0")
    ones = np.ones((2, 16), np.int32)
    arrays = {"input/INPUT0": ones, "input/INPUT1": ones, "output/OUTPUT0": ones + ones}
    proofs.write(tmp_path / "both" / "1", arrays)
    (found, *_) = load(tmp_path, name="both")
    assert str(found).endswith("; no proof of OUTPUT1")


def renamed(old: str, new: str) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    return lambda arrays: {(new if name == old else name): a for name, a in arrays.items()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            renamed("input/image", "input/picture"),
            "it has the input 'picture', the model has image",
        ),
        (renamed("output/scores", "output/p"), "it has the output 'p', the model has scores"),
        (
            lambda a: a | {"input/image": a["input/image"][:, :4]},
            "its input 'image' is uint8 [5, 4, 8, 3], the model takes UINT8 [-1, 8, 8, 3]",
        ),
        (
            lambda a: a | {"input/image": a["input/image"].astype(np.float32)},
            "its input 'image' is float32 [5, 8, 8, 3], the model takes UINT8 [-1, 8, 8, 3]",
        ),
        (
            lambda a: a | {"output/scores": a["output/scores"][:, :2]},
            "its output 'scores' is [1, 2], the model returns [1, 3]",
        ),
    ],
)
def test_a_proof_of_another_model_says_how_to_go_on(
    tmp_path: Path, change: Callable[[Any], dict[str, np.ndarray]], said: str
) -> None:
    """Where names, types or shapes are not the model's, it was replaced."""
    proofs.repository(tmp_path)
    proofs.write(tmp_path / "colours" / "1", change(proofs.held(models.colours())))
    expected = f"proof.npz is not of this model (delete it if the model was replaced): {said}"
    assert refusal(tmp_path) == expected


GOOD = proofs.held(models.colours())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a readable proof"),
        (b"not an archive", "is not a readable proof"),
        (proofs.encoded(GOOD)[:-200], "is not a readable proof"),
        (proofs.tampered(proofs.encoded(GOOD)), "is not a readable proof"),
        (proofs.bomb(), "allowed are 64,000,000"),
        (b"x" * 1_000_001, "it has 1,000,001 bytes, allowed are 1,000,000"),
        (proofs.encoded(GOOD | {"output/scores": np.array([[{}], [1]], object)}), "allow_pickle"),
        (proofs.encoded({"input/image": GOOD["input/image"]}), "it holds no output/NAME"),
        (proofs.encoded(GOOD | {"output/scores": GOOD["output/scores"][:4]}), "as many rows"),
        (proofs.encoded(GOOD, max_diff={}), "its max_diff is not of scores"),
        (proofs.encoded(GOOD, max_diff={"scores": float("nan")}), "each a number from 0"),
        (proofs.encoded(GOOD, max_diff={"scores": -1}), "each a number from 0"),
        (proofs.encoded(GOOD, max_diff=None), "max_diff"),
        (proofs.encoded(GOOD, min_agreement=2), "its min_agreement is 2.0, expected 0 to 1"),
        (proofs.encoded(GOOD, origin="dreamt"), "its origin is 'dreamt'"),
        (proofs.encoded(GOOD, classes="other"), "its classes, 'other', are not an output"),
        (proofs.encoded(GOOD | {"output/scores": GOOD["output/scores"] * np.nan}), "no number"),
    ],
)
def test_a_damaged_proof_is_never_passed_over(tmp_path: Path, data: bytes, said: str) -> None:
    """The load fails and names the file, what is wrong, and what was expected."""
    proofs.repository(tmp_path)
    (tmp_path / "colours" / "1" / "proof.npz").write_bytes(data)
    text = refusal(tmp_path)
    assert text.startswith("proof.npz is not a readable proof: ")
    assert said in text
    assert text.endswith("expected what crossrun-export writes, or no such file")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"detection_boxes": np.zeros((1, 4, 3))}, "its detection_boxes are not numbers [1, 4, 4]"),
        ({"num_detections": np.zeros((1, 1))}, "its num_detections are not numbers [1]"),
        ({"detection_scores": np.zeros(1)}, "its detection_boxes are not numbers"),
        ({"detection_scores": np.full((1, 4), np.nan)}, "its detection_scores are not numbers"),
        ({"num_detections": None}, "a detector's outputs are detection_boxes, "),
    ],
)
def test_a_damaged_proof_of_a_detector_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """All four outputs, of one length."""
    proofs.repository(tmp_path)
    arrays = {f"output/{name}": array for name, array in (outputs(TWO) | change).items()}
    kept = {name: array for name, array in arrays.items() if array is not None}
    kept["input/image"] = GOOD["input/image"][:1]
    proofs.write(tmp_path / "colours" / "1", kept, max_diff={"detections": 0.1})
    text = refusal(tmp_path)
    assert text.startswith("proof.npz is not a readable proof: ")
    assert said in text


@pytest.mark.parametrize("text", ["much", "-1", "nan", ""])
def test_a_tolerance_is_a_number(tmp_path: Path, text: str) -> None:
    """A parameter that is none fails the load, with a proof and without."""
    config = models.COLOURS_CONFIG + parameter("proof_tolerance", text)
    proofs.repository(tmp_path, config=config)
    said = f"parameters 'proof_tolerance' is {text!r}, expected a number from 0, such as 0.01"
    assert refusal(tmp_path) == said
    (tmp_path / "colours" / "1" / "proof.npz").unlink()
    assert refusal(tmp_path) == said
