"""A model whose file is not the one that was proven: a disk or a copy has changed its bytes."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest

from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from tests.support import models, proofs
from tests.support.proofs import load, refusal
from tests.support.running import ON_CPU

GOOD = proofs.held(models.colours())
MODEL = "model.onnx"


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def summed(root: Path, *names: str) -> Path:
    """A repository of `colours`, whose proof has checksums of these files; returns the version."""
    version = proofs.repository(root) / "colours" / "1"
    proofs.write(version, GOOD, sha256={name: digest(version / name) for name in names})
    return version


def flip(file: Path, text: bytes) -> None:
    """Change two bytes of a file that holds a text once."""
    data = file.read_bytes()
    assert data.count(text) == 1
    file.write_bytes(data.replace(text, bytes(byte ^ 1 for byte in text[:2]) + text[2:]))


def test_two_changed_bytes_fail_the_load(tmp_path: Path) -> None:
    """The answers are as proven, and the load is refused all the same, with the file's name."""
    file = summed(tmp_path, MODEL) / MODEL
    proven = digest(file)
    load(tmp_path)
    flip(file, b"tiny")
    answers = proofs.held(onnx.load(file))["output/scores"]
    np.testing.assert_array_equal(answers, GOOD["output/scores"])
    assert refusal(tmp_path) == (
        "model.onnx is damaged, or is not what proof.npz was written for: its SHA-256 is "
        f"{digest(file)}, expected {proven}; copy or export the model again, or delete proof.npz "
        "if model.onnx was changed on purpose"
    )


def test_a_proof_from_before_there_were_checksums_is_enough(tmp_path: Path) -> None:
    """A model that was exported earlier loads, and is held to its answers as before."""
    file = summed(tmp_path) / MODEL
    flip(file, b"tiny")
    load(tmp_path)


def test_files_beside_the_model_are_compared_too(tmp_path: Path) -> None:
    """External data that is changed or missing is named."""
    version = proofs.repository(tmp_path) / "colours" / "1"
    weights = version / "weights.bin"
    weights.write_bytes(b"many numbers")
    sums = {name: digest(version / name) for name in (MODEL, weights.name)}
    proofs.write(version, GOOD, sha256=sums)
    load(tmp_path)
    flip(weights, b"many")
    assert refusal(tmp_path).startswith("weights.bin is damaged, or is not what proof.npz")
    weights.unlink()
    assert refusal(tmp_path) == (
        "weights.bin, which proof.npz has the checksum of, cannot be read: No such file or "
        "directory"
    )


def test_another_file_than_the_proven_one_is_not_compared(tmp_path: Path) -> None:
    """If config.pbtxt names a file without a checksum, those of others are of no concern."""
    version = summed(tmp_path, MODEL)
    (version / "other.onnx").write_bytes((version / MODEL).read_bytes())
    (version / MODEL).unlink()
    config = tmp_path / "colours" / "config.pbtxt"
    config.write_text(config.read_text() + "default_model_filename: 'other.onnx'\n")
    load(tmp_path)


@pytest.mark.parametrize("sums", [["model.onnx"], {"model.onnx": "0"}, {"model.onnx": None}])
def test_checksums_that_are_none_are_a_damaged_proof(tmp_path: Path, sums: object) -> None:
    """The load fails, and names the proof."""
    proofs.repository(tmp_path)
    proofs.write(tmp_path / "colours" / "1", GOOD, sha256=sums)
    assert refusal(tmp_path).startswith("proof.npz is not a readable proof: ")


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_a_checksum_leads_to_no_file_elsewhere(tmp_path: Path, name: str) -> None:
    """A proof that a client sends cannot tell what other files hold."""
    version = proofs.repository(tmp_path) / "colours" / "1"
    sums = {MODEL: digest(version / MODEL), name: "0" * 64}
    proofs.write(version, GOOD, sha256=sums)
    assert refusal(tmp_path) == f"{name!r} does not name a file in the model's folder"


def test_files_that_are_sent_are_compared_too(tmp_path: Path) -> None:
    """A model that comes over the wire with its proof is held to its checksum."""
    version = summed(tmp_path, MODEL)
    files = {f"1/{name}": (version / name).read_bytes() for name in (MODEL, "proof.npz")}
    files[f"1/{MODEL}"] = files[f"1/{MODEL}"].replace(b"tiny", b"tinz")
    with pytest.raises(LoadError, match=r"model\.onnx is damaged"):
        loader.load(ModelSource(tmp_path / "colours", "{}", files), ON_CPU)
