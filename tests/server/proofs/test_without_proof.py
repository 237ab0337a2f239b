"""A model without a proof: other providers are held against the CPU on random inputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from crossrun.v1 import providers_pb2
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.runtime.session import Session
from tests.support import models, placed, proofs
from tests.support.placed import OPENVINO
from tests.support.proofs import load, refusal
from tests.support.running import ON_CPU, serving
from tests.support.sessions import add, stand_in
from tests.support.telemetry import samples


def test_without_a_proof_that_is_said(tmp_path: Path) -> None:
    """On the CPU there is nothing to compare it with; no metric claims anything."""
    (proofs.repository(tmp_path) / "colours" / "1" / "proof.npz").unlink()
    with serving(tmp_path, tmp_path / "log", "--provider", "cpu") as up:
        config = placed.config_of(up.address, "colours")
        assert config.parameters["crossrun.proof"].string_value == "no proof"
        found = placed.placements(up.address)["colours"].proof
        assert samples(up, "crossrun_model_proof_max_difference") == []
    assert found == providers_pb2.Proof(description="no proof")


@pytest.mark.parametrize("config", ["max_batch_size: 4", ""])
def test_another_provider_is_held_against_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    """On random inputs, within so much of the largest number; it is said that this is no proof."""
    models.write(tmp_path, "conv", models.conv(), config)
    stand_in(monkeypatch, add(1e-5), OPENVINO)
    (found, *_) = load(tmp_path, name="conv")
    assert str(found).startswith("no proof; within 1e-05 of the CPU provider on random inputs (al")
    stand_in(monkeypatch, add(0.01), OPENVINO)
    said = refusal(tmp_path, name="conv")
    assert said.startswith(f"{OPENVINO} is off by 0.01 in 'y' from the CPU provider on random inp")
    (found, *_) = load(tmp_path, ServerContext(ON_CPU.default, proof_tolerance=0.02), "conv")
    assert found.allowed == 0.02


def test_the_tolerance_without_a_proof_is_that_of_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gives numbers of a million may be off by more than what gives probabilities."""
    models.write(tmp_path, "conv", models.conv(scale=1e6), "max_batch_size: 4")
    stand_in(monkeypatch, add(0.01), OPENVINO)
    load(tmp_path, name="conv")


def test_random_inputs_that_a_model_refuses_fail_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said that nothing was compared, and why."""
    models.write(tmp_path, "gather", models.gather(), "max_batch_size: 8")
    stand_in(monkeypatch, add(0.0), OPENVINO)
    (found, *_) = load(tmp_path, name="gather")
    assert str(found).startswith("no proof; the CPU provider refuses random inputs: ")
    assert found.difference is None


def test_whole_numbers_prove_nothing_on_random_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class that two providers round to either side of is no fault."""
    models.write(tmp_path, "simple", models.sum_and_difference(), "max_batch_size: 8")
    stand_in(monkeypatch, add(1.0), OPENVINO)
    (found, *_) = load(tmp_path, name="simple")
    assert str(found) == "no proof; its outputs cannot be compared on random inputs"


def test_an_output_that_jumps_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where inputs that hardly differ give other answers on the CPU alone, nothing is proven."""
    models.write(tmp_path, "conv", models.conv(scale=1e9), "max_batch_size: 4")
    jumping = onnx.load(tmp_path / "conv" / "1" / "model.onnx")
    jumping.graph.node[-1].output[0] = "before"
    jumping.graph.node.append(onnx.helper.make_node("Sin", ["before"], ["y"]))
    onnx.save(jumping, tmp_path / "conv" / "1" / "model.onnx")
    stand_in(monkeypatch, add(0.5), OPENVINO)
    (found, *_) = load(tmp_path, name="conv")
    assert str(found) == "no proof; its outputs cannot be compared on random inputs"


def test_an_output_of_another_length_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts what was found may find one more on another provider; others are held."""
    models.write(tmp_path, "conv", models.conv(), "max_batch_size: 0")

    def one_more(_: Session, answer: dict[str, np.ndarray]) -> None:
        answer["y"] = np.concatenate([answer["y"], answer["y"]])

    stand_in(monkeypatch, one_more, OPENVINO)
    (found, *_) = load(tmp_path, name="conv")
    assert str(found) == "no proof; its outputs cannot be compared on random inputs"


def test_what_is_no_number_is_refused_without_a_proof_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the CPU has one, also in a reduced precision."""
    draw = np.random.default_rng(1)
    calibration = [{"x": draw.random((1, 3, 8, 8), np.float32)} for _ in range(4)]
    models.write(tmp_path, "conv", models.conv(), "max_batch_size: 4")
    models.write(tmp_path, "int8", models.int8(models.conv(), calibration), "max_batch_size: 4")
    stand_in(monkeypatch, add(np.nan), OPENVINO)
    for name in ("conv", "int8"):
        assert f"{OPENVINO} returns NaN or infinity in 'y'" in refusal(tmp_path, name=name)


def test_a_reduced_precision_without_a_proof_is_told_and_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """int8 differs by how each provider rounds."""
    draw = np.random.default_rng(1)
    calibration = [{"x": draw.random((1, 3, 8, 8), np.float32)} for _ in range(4)]
    models.write(tmp_path, "conv", models.int8(models.conv(), calibration), "max_batch_size: 4")
    stand_in(monkeypatch, add(0.05), OPENVINO)
    (found, *_) = load(tmp_path, name="conv")
    assert found.difference == pytest.approx(0.05, abs=1e-4)
    assert "in a reduced precision, not held" in str(found)
