"""The proof that the export writes: the answers of the original, as many as fit, and bounds."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from crossrun_export import classifier_proof, convert, inference, proof, sources, tolerance, verify
from crossrun_export.errors import ExportError
from crossrun_export.pipeline import export
from crossrun_export.proof import Bounds, Proof
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.version_loader import ServerContext
from tests.support import proofs
from tests.support.keras_models import options
from tests.support.proofs import load
from tests.support.running import ON_CPU

ABOUT = {"precision": "fp32", "origin": "drawn", "source_sha256": ""}


@pytest.fixture(scope="module", params=["uint8", "float32"])
def exported(
    request: pytest.FixtureRequest,
    small: sources.Source,
    drawings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A repository of the small model, verified on files; to be looked at, not changed."""
    output = tmp_path_factory.mktemp("exported")
    export(small, options(output, input_dtype=request.param, images=drawings / "label 0"))
    return output


def test_a_proof_holds_what_keras_says(exported: Path, small: sources.Source) -> None:
    """Asked again, the original gives the very outputs, for inputs as the file takes them."""
    file = exported / "mobilenet" / "1" / "proof.npz"
    assert file.stat().st_size <= 1_000_000
    arrays = np.load(file, allow_pickle=False)
    assert sorted(arrays) == ["about", "input/image", "output/probabilities"]
    inputs = arrays["input/image"]
    assert inputs.shape == (8, 64, 64, 3)
    is_uint8 = inputs.dtype == np.uint8
    taken = inference.inputs_of(small, inputs, "float32") if is_uint8 else inputs
    expected = small.model.predict(taken, verbose=0)
    np.testing.assert_allclose(arrays["output/probabilities"], expected, rtol=0, atol=1e-6)
    told = arrays["about"].item()
    assert '"origin": "photographs"' in told
    assert '"max_diff": {"probabilities": 0.0001}' in told


def test_the_server_holds_the_model_to_it(exported: Path, tmp_path: Path) -> None:
    """As exported it serves; the same graph with 0.01 added to its answers is refused."""
    (found, *_) = load(exported, name="mobilenet")
    assert found.difference is not None
    assert found.difference < 1e-4
    assert (found.agreement, found.rows, found.origin) == (1.0, 8, "photographs")
    folder = exported / "mobilenet"
    wrong = proofs.off_by(onnx.load(folder / "1" / "model.onnx"), 0.01)
    files = {"1/model.onnx": wrong.SerializeToString()}
    proof = dict(np.load(folder / "1" / "proof.npz", allow_pickle=False))
    about = json.loads(proof.pop("about").item())
    sums = about["sha256"]
    assert sums == {"model.onnx": sha256((folder / "1" / "model.onnx").read_bytes()).hexdigest()}
    files["1/proof.npz"] = proofs.encoded(proof, **about | {"sha256": None})
    sent = ModelSource(tmp_path / "mobilenet", '{"max_batch_size": 32}', files)
    with pytest.raises(LoadError, match=r"off by 0.01 in 'probabilities' from the original"):
        loader.load(sent, ON_CPU)
    raised = ServerContext(ON_CPU.default, proof_tolerance=0.02)
    (model,) = loader.load(sent, raised).models.values()
    assert model.assignments[0].evidence.difference == pytest.approx(0.01, abs=1e-4)
    model.close()


def test_fp16_may_be_off_by_what_half_precision_comes_to(
    exported: Path, small: sources.Source
) -> None:
    """The CPU that exports computes it in fp32; a provider that does not is no other model."""
    model = onnx.load(exported / "mobilenet" / "1" / "model.onnx")
    allowed = tolerance.Allowed(max_diff=1e-4, min_agreement=1.0)
    made = classifier_proof.prover(small, model, "fp16", allowed)(pictures(2, 64))
    (bound,) = made.bounds.max_diff.values()
    assert 5e-3 <= bound < 6e-3


def test_a_graph_that_differs_there_is_not_written(
    small: sources.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the verification said: a proof that its own export fails is none."""
    to_onnx = convert.to_onnx
    monkeypatch.setattr(convert, "to_onnx", lambda *given: proofs.off_by(to_onnx(*given), 0.01))
    monkeypatch.setattr(verify, "verify", lambda *_: verify.Parity(1, 0.0, 1.0, 1.0, False))
    with pytest.raises(ExportError, match=r"differs by up to 0.01 on the pictures of its proof"):
        export(small, options(tmp_path / "models"))
    assert list((tmp_path / "models").iterdir()) == []


# --- As many as fit ----------------------------------------------------------------------------


def pictures(count: int, size: int) -> np.ndarray:
    """Noise, which no compression makes smaller."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def written(folder: Path, pixels: np.ndarray, **outputs: Any) -> dict[str, np.ndarray]:
    def make(some: np.ndarray) -> Proof:
        means = some.reshape(len(some), -1).mean(axis=1, keepdims=True).astype(np.float32)
        return Proof({"image": some}, {"mean": means, **outputs}, Bounds({"mean": 0.1}, 1.0))

    proof.write(folder, pixels, make, ABOUT)
    assert (folder / "proof.npz").stat().st_size <= 1_000_000
    return dict(np.load(folder / "proof.npz", allow_pickle=False))


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(1, 8, 1), (3, 8, 3), (50, 8, 8), (50, 224, 6), (50, 400, 2), (1, 500, 1)],
)
def test_as_many_pictures_as_fit_are_written(
    tmp_path: Path, count: int, size: int, expected: int
) -> None:
    """At most eight, evenly spread over all; each picture with its own answer."""
    pixels = pictures(count, size)
    found = written(tmp_path, pixels)
    assert len(found["input/image"]) == expected
    assert np.array_equal(found["input/image"][0], pixels[0])
    assert np.array_equal(found["input/image"][-1], pixels[-1]) or expected == 1
    means = found["input/image"].reshape(expected, -1).mean(axis=1)
    np.testing.assert_allclose(found["output/mean"][:, 0], means, rtol=1e-6)


def test_large_pictures_are_made_coarser(tmp_path: Path) -> None:
    """Where not even two fit: the original is asked about what is written."""
    found = written(tmp_path, pictures(4, 700))
    inputs = found["input/image"]
    assert len(inputs) >= 2
    assert np.array_equal(inputs[:, ::2, ::2], inputs[:, 1::2, 1::2])
    means = inputs.reshape(len(inputs), -1).mean(axis=1)
    np.testing.assert_allclose(found["output/mean"][:, 0], means, rtol=1e-6)


def test_answers_that_cannot_fit_are_refused(tmp_path: Path) -> None:
    """Nothing is written, and the error says how much one picture takes."""
    noise = np.random.default_rng(0).random((1, 400_000), np.float32)
    with pytest.raises(ExportError, match="of one picture are over 1,000,000 bytes"):
        written(tmp_path, pictures(1, 8), noise=noise)
    assert list(tmp_path.iterdir()) == []


def test_a_reduced_precision_may_be_off_by_thrice_what_was_measured() -> None:
    """And by what full precision may be; as to the answers, thrice as many and a tenth."""
    assert proof.reduced(0.02, 1.0, 1e-4) == pytest.approx((0.0601, 0.9))
    assert proof.reduced(0.02, 0.9, 1e-4) == pytest.approx((0.0601, 0.6))
    assert proof.reduced(0.02, 0.5, 1e-4)[1] == 0


@pytest.mark.parametrize(
    ("expected", "got", "share"),
    [
        ([[0.7, 0.3], [0.2, 0.8]], [[0.6, 0.4], [0.1, 0.9]], 1.0),
        ([[0.7, 0.3], [0.2, 0.8]], [[0.4, 0.6], [0.1, 0.9]], 0.5),
        ([[0.505, 0.495]], [[0.4, 0.6]], 1.0),  # within the tie
        ([[0.9], [0.1], [0.5005]], [[0.6], [0.6], [0.4]], 2 / 3),  # one number: either side of 1/2
    ],
)
def test_answers_agree_by_their_best_class(
    expected: list[list[float]], got: list[list[float]], share: float
) -> None:
    """Ties aside."""
    assert proof.agreement(np.array(expected), np.array(got), 0.02) == pytest.approx(share)
