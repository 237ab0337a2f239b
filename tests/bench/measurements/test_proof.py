"""The proof of a model before anything is timed: what answers otherwise is not measured unasked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.throughput.result import ProviderThroughput, ThroughputResult
from crossrun_bench.models import checked, proof
from crossrun_bench.models.checked import Checked
from crossrun_bench.models.model import as_input, packed
from crossrun_bench.models.repository import read_model
from tests.support import models, proofs
from tests.support.proofs import TWO, outputs
from tests.support.running import Command

TARGETS = "onnxruntime,grpc-raw"
META = {
    "crossrun.preprocessing": json.dumps({"scale": 1 / 255, "offset": 0.0}),
    "crossrun.source": '{"model": "colours", "sha256": "1"}',
}


def repository(root: Path, off: float = 0.0) -> Path:
    """A model of colours with its proof, to measure, whose answers are off by so much."""
    proofs.repository(root, off)
    file = root / "colours" / "1" / "model.onnx"
    model = onnx.load(file)
    onnx.helper.set_model_props(model, META)
    onnx.save(model, file)
    arrays = proofs.held(models.colours())
    proofs.write(file.parent, arrays, classes="scores", origin="photographs")
    return root


@pytest.mark.parametrize("target", ["onnxruntime", "grpc-raw"])
def test_what_is_off_is_not_timed(tmp_path: Path, run: Command, target: str) -> None:
    """In process and served: the sentence, and no results."""
    root, out = repository(tmp_path / "models", off=0.01), tmp_path / "l.json"
    options = ["--targets", target, "--batch", 1, "--rounds", 1, "--output", out]
    done = run("crossrun-bench", "latency", root, "--model", "colours", *options)
    assert done.returncode == 1
    assert "is off by 0.01" in done.stderr
    assert "allowed is 0.0001" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_asked_for_it_is_timed_and_told(tmp_path: Path, run: Command) -> None:
    """With the tolerance raised: in the file, and in a column of the table."""
    root, out = repository(tmp_path / "models", off=0.01), tmp_path / "l.json"
    options = ["--targets", TARGETS, "--batch", 1, "--rounds", 1, "--output", out]
    options += ["--proof-tolerance", 0.02]
    done = run("crossrun-bench", "latency", root, "--model", "colours", *options)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LatencyResult)
    for target in result.targets:
        assert target.proof
        assert target.proof.difference == pytest.approx(0.01, abs=1e-5)
        assert (target.proof.agreement, target.proof.allowed) == (1.0, 0.02)
        assert target.proof.against == "photographs"
    shown = run("crossrun-bench", "report", out).stdout
    assert shown.count("1.0e-02") == 2
    assert "Off by: the largest difference from the original's answers in proof.npz" in shown


def test_throughput_does_the_same(tmp_path: Path, run: Command) -> None:
    """A provider that is off cannot be measured, and the result says why; asked for, it is."""
    root = repository(tmp_path / "models", off=0.01)
    found: list[ProviderThroughput] = []
    for more in ([], ["--proof-tolerance", 0.02]):
        out = tmp_path / f"{len(more)}.json"
        options = ["--providers", "cpu", "--batch", 1, "--rounds", 1, "--seconds", 0.02, *more]
        options += ["--output", out]
        done = run("crossrun-bench", "throughput", root, "--model", "colours", *options)
        assert done.returncode == 0, done.stderr
        result = store.read(out)
        assert isinstance(result, ThroughputResult)
        found += result.providers
    refused, measured = found
    assert refused.missing
    assert "is off by 0.01 in 'scores' from the original" in refused.missing
    assert refused.alone == ()
    assert measured.missing is None
    assert measured.alone
    assert measured.proof
    assert measured.proof.difference == pytest.approx(0.01, abs=1e-5)
    shown = run("crossrun-bench", "report", out).stdout
    assert "1.0e-02" in shown


def test_the_way_in_process_is_held_as_the_server_is(
    tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server is right and the session is not, the provider is not measured either."""
    root, out = repository(tmp_path / "models"), tmp_path / "t.json"
    off = checked.compared
    monkeypatch.setattr(
        "crossrun_bench.models.checked.compared",
        lambda held, got, most: off(held, got + 0.01, most),
    )
    options = ["--providers", "cpu", "--batch", 1, "--rounds", 1, "--seconds", 0.02]
    done = run(
        "crossrun-bench", "throughput", root, "--model", "colours", *options, "--output", out
    )
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, ThroughputResult)
    (found,) = result.providers
    assert found.missing
    assert "is off by 0.01 from the original on 5 pictures, allowed is 0.0001" in found.missing


def test_a_proof_that_cannot_be_read_ends_the_run(tmp_path: Path, run: Command) -> None:
    """It is never passed over: the error names the file and how to go on."""
    root = repository(tmp_path / "models")
    file = root / "colours" / "1" / "proof.npz"
    for data in (b"", proofs.encoded(proofs.held(models.colours()))[:-99], proofs.bomb()):
        file.write_bytes(data)
        options = ["--targets", "onnxruntime", "--batch", 1, "--rounds", 1]
        done = run("crossrun-bench", "latency", root, "--model", "colours", *options)
        assert done.returncode == 1
        assert f"{file}: not a proof of this model (" in done.stderr
        assert "delete it to go on" in done.stderr


@pytest.mark.parametrize("change", ["input/picture", "output/other", "rows", "size"])
def test_a_proof_of_another_model_is_none(tmp_path: Path, change: str) -> None:
    """Names, counts and sizes have to be the model's."""
    root = repository(tmp_path)
    arrays = proofs.held(models.colours())
    if change == "rows":
        arrays["output/scores"] = arrays["output/scores"][:2]
    elif change == "size":
        arrays["input/image"] = arrays["input/image"][:, :4]
    else:
        old = "input/image" if change.startswith("input") else "output/scores"
        arrays = {(change if name == old else name): array for name, array in arrays.items()}
    proofs.write(root / "colours" / "1", arrays)
    with pytest.raises(BenchError, match="not a proof of this model"):
        proof.read(read_model(root, "colours"))


def test_inputs_that_were_scaled_are_pictures_again(tmp_path: Path) -> None:
    """Of a model that takes floats, runners get the pixels that they scale themselves."""
    root = repository(tmp_path)
    arrays = proofs.held(models.colours())
    pixels = arrays["input/image"]
    caffe = {"scale": (1.0,), "offset": (-103.939, -116.779, -123.68), "color": "BGR"}
    for scaling in ({"scale": (1 / 127.5,), "offset": (-1.0,)}, caffe):
        model = replace(read_model(root, "colours"), input_type="FP32", **scaling)
        arrays["input/image"] = as_input(model, pixels)
        proofs.write(root / "colours" / "1", arrays)
        found = proof.read(model)
        assert found
        assert np.array_equal(found.pixels, pixels)


def held(**changes: object) -> proof.Proof:
    pixels, scores = np.zeros((2, 8, 8, 3), np.uint8), np.array([[0.7, 0.3], [0.2, 0.8]])
    given = proof.Proof(pixels, scores, "drawn", 0.01, 1.0, None)
    return replace(given, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("off", "tolerance", "said"),
    [
        (0.005, None, None),
        (0.02, None, "is off by 0.02 from the original on 2 pictures, allowed is 0.01"),
        (0.02, 0.03, None),
        (0.005, 0.001, "is off by 0.005"),
        (np.nan, 1e30, "is off by nan"),
        (np.inf, 1e30, "is off by inf"),
    ],
)
def test_beyond_the_tolerance_is_refused(
    off: float, tolerance: float | None, said: str | None
) -> None:
    """The proof's own, or that which was asked for; what is no number never fits."""
    found = checked.compared(held(), held().expected + off, tolerance)
    why = checked.refusal(held(), found, told=tolerance is not None)
    assert (why is None) == (said is None)
    assert (said or "") in (why or "")


def test_other_best_classes_are_refused_unless_asked_for() -> None:
    """Though each number is near."""
    loose = held(max_diff=0.25)
    got = np.array([[0.49, 0.51], [0.2, 0.8]])
    found = checked.compared(loose, got, None)
    assert found.agreement == 0.5
    assert "for 50.00% of the proof" in (checked.refusal(loose, found, told=False) or "")
    assert checked.refusal(loose, found, told=True) is None


def test_answers_of_the_cpu_allow_what_their_numbers_do() -> None:
    """A thousandth of the largest; a reduced precision is told and not held."""
    expected = np.array([[1000.0, 1.0]])
    for off, fits in ((0.9, True), (1.2, False)):
        found = checked.as_cpu(expected, expected + off, None, held=True)
        assert (checked.refusal(None, found, told=False) is None) == fits
    free = checked.as_cpu(expected, expected + 50, None, held=False)
    assert free == Checked("cpu", 1, 50.0, None, None)
    assert checked.refusal(None, free, told=False) is None


def test_objects_are_compared_by_what_they_are_of() -> None:
    """Each has its like: of its class, where it is; what lies on the threshold may be missing."""
    expected = packed(outputs(TWO))
    finder = held(expected=expected, threshold=0.5, max_diff=0.001)
    for got, difference, agreement in (
        (TWO[::-1], 0.0, 1.0),
        ([(1, 0.9, 0.1), (2, 0.79, 0.5)], 0.01, 1.0),
        ([*TWO, (5, 0.5005, 0.7)], 0.0, 1.0),
        ([(1, 0.9, 0.1), (3, 0.8, 0.5)], 0.0, 0.5),
        ([], 0.0, 0.0),
    ):
        found = checked.compared(finder, packed(outputs(got)), None)
        assert found.difference == pytest.approx(difference, abs=1e-6)
        assert found.agreement == pytest.approx(agreement)
