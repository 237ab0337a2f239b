"""The proof beside a model: run in every lane before it serves, and told; refused where it fails.

A server is a real one; stand-ins of sessions and of providers are what no machine here has.
"""

import json
import re
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import providers_pb2
from crossrun_server.models import answer_check
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.proofs import comparison
from crossrun_server.proofs.evidence import Evidence
from crossrun_server.proofs.proof_file import Proof
from crossrun_server.runtime.session import Session
from crossrun_server.telemetry import metrics
from crossrun_server.telemetry.readings import Reading, merged
from crossrun_server.telemetry.statistics import Counters
from tests.support import models, placed, proofs
from tests.support.configs import parameter
from tests.support.proofs import TWO, Seen, load, outputs, refusal
from tests.support.running import ON_CPU, serving
from tests.support.telemetry import samples

OPENVINO = "OpenVINOExecutionProvider"
SENTENCE = (
    "CPUExecutionProvider is off by 0.01 in 'scores' from the original, proven in fp32, "
    "allowed is 0.0001; for bf16, TF32 or fp16 on purpose allow more by parameters "
    "'proof_tolerance' in config.pbtxt or by --proof-tolerance"
)
TWO_LANES = models.COLOURS_CONFIG + parameter("plan", "1x2,2x1")


Change = Callable[[Session, dict[str, np.ndarray]], Any]


def stand_in(
    monkeypatch: pytest.MonkeyPatch, change: Change, provider: str = "", asked: str = ""
) -> None:
    """Let sessions answer otherwise; each says that `provider` computes it, if one is named."""

    class Other(Session):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.threads = given[2].intra_op
            if provider:
                nodes = {provider: sum(self.assignment.nodes.values())}
                self.assignment = type(self.assignment)(provider, nodes, {}, {provider: asked})

        def run(self, inputs: Any, outputs: Sequence[str]) -> dict[str, np.ndarray]:
            answer = super().run(inputs, outputs)
            change(self, answer)
            return answer

    monkeypatch.setattr("crossrun_server.models.lanes.Session", Other)


def add(
    amount: float, unless: Callable[[Any, Any], bool] = lambda _session, _rows: False
) -> Change:
    def change(session: Session, answer: dict[str, np.ndarray]) -> None:
        for name, array in answer.items():
            if not unless(session, array):
                answer[name] = array + np.float32(amount)

    return change


# --- A real server ---------------------------------------------------------------------------


def test_a_model_that_is_off_does_not_load(tmp_path: Path) -> None:
    """Who is off, how far, in what, from what, what is allowed, and how to have it on purpose."""
    root = proofs.repository(tmp_path / "models", off=0.01)
    said = placed.refused(root, "--no-metrics", "--provider", "cpu")
    assert said == f"crossrun-serve: failed to load 'colours': version 1: {SENTENCE}"


@pytest.mark.parametrize("by", ["option", "parameter"])
def test_with_the_tolerance_raised_it_serves_and_says_so_everywhere(
    tmp_path: Path, by: str
) -> None:
    """In the log, in ModelConfig, in ListPlacements and in the metrics."""
    config = models.COLOURS_CONFIG + (parameter("proof_tolerance", "0.02") * (by == "parameter"))
    root = proofs.repository(tmp_path / "models", 0.01, config)
    option = {"option": "0.02", "parameter": "0.001"}[by]
    told = "within 0.01 of the original on 5 drawn pictures (fp32, allowed 0.02), 100.00% of answe"
    with serving(root, tmp_path / "log", "--provider", "cpu", "--proof-tolerance", option) as up:
        assert f"colours version 1: {told}" in up.log.read_text()
        parameters = placed.config_of(up.address, "colours").parameters
        assert parameters["crossrun.proof"].string_value.startswith(told)
        proof = placed.placements(up.address)["colours"].proof
        labels = {"model": "colours", "version": "1", "provider": placed.CPU}
        assert samples(up, "crossrun_model_proof_max_difference", **labels) == [
            pytest.approx(0.01, abs=1e-5)
        ]
        assert samples(up, "crossrun_model_proof_agreement", **labels) == [1.0]
    assert proof.reference == providers_pb2.REFERENCE_DRAWN
    assert proof.largest_difference == pytest.approx(0.01, abs=1e-5)
    assert (proof.agreement, proof.tolerance, proof.precision) == (1.0, 0.02, "fp32")
    assert proof.description.startswith(told)


def test_a_swap_to_a_version_that_is_off_is_refused(tmp_path: Path) -> None:
    """The version before goes on, whether the next one is on the disk or sent; the index tells."""
    root = proofs.repository(tmp_path / "models")
    folder, wrong = root / "colours", proofs.off_by(models.colours(), 0.01)
    x = np.full((1, 8, 8, 3), 51, np.uint8)
    request = pb.ModelInferRequest(model_name="colours")
    request.inputs.add(name="image", datatype="UINT8", shape=x.shape)
    request.raw_input_contents.append(x.tobytes())
    explicit = ("--provider", "cpu", "--model-control-mode", "explicit", "--load-model", "*")
    with (
        serving(root, tmp_path / "log", *explicit) as up,
        grpc.insecure_channel(up.address) as channel,
    ):
        stub = Stub(channel)
        change = pb.RepositoryModelLoadRequest(model_name="colours")
        (folder / "2").mkdir()
        onnx.save(wrong, folder / "2" / "model.onnx")
        (folder / "2" / "proof.npz").write_bytes((folder / "1" / "proof.npz").read_bytes())
        sent = pb.RepositoryModelLoadRequest(model_name="colours")
        sent.parameters["config"].string_param = json.dumps({"max_batch_size": 4})
        sent.parameters["file:7/model.onnx"].bytes_param = wrong.SerializeToString()
        proof = (folder / "1" / "proof.npz").read_bytes()
        sent.parameters["file:7/proof.npz"].bytes_param = proof
        for message, version in ((change, 2), (sent, 7)):
            with pytest.raises(grpc.RpcError, match=f"version {version}: {re.escape(SENTENCE)}"):
                stub.RepositoryModelLoad(message)
            reply = stub.ModelInfer(request)
            assert reply.model_version == "1"
            assert np.frombuffer(reply.raw_output_contents[0], np.float32) == pytest.approx(0.2)
            index = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
            assert any(SENTENCE in line.reason for line in index)
        assert SENTENCE in up.log.read_text()


# --- Every lane, every way of running ----------------------------------------------------------


def test_a_session_that_is_off_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sentence, whatever it is that answers; what its provider was told is said."""
    proofs.repository(tmp_path)
    stand_in(monkeypatch, add(0.01), OPENVINO, asked="bf16")
    said = refusal(tmp_path)
    assert said.startswith(f"{OPENVINO} in bf16 is off by 0.01 in 'scores' ")
    assert said.endswith('give openvino.load_config={"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}')
    (found, *_) = load(tmp_path, ServerContext(ON_CPU.default, proof_tolerance=0.02))
    assert (found.allowed, found.asked_precision) == (0.02, "bf16")
    assert "0.01" in str(found)


@pytest.mark.parametrize(
    "unless",
    [
        lambda session, _: session.threads != 1,  # the narrow lane alone is off
        lambda session, _: session.threads == 1,  # the wide lane alone
        lambda session, rows: session.threads != 1 or len(rows) > 1,  # there, and one row alone
        lambda _, rows: len(rows) == 1,  # batches alone
        lambda _, rows: len(rows) > 1,  # single requests alone
    ],
)
def test_a_lane_that_is_off_in_some_runs_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unless: Callable[[Any, Any], bool]
) -> None:
    """Each lane is tried with one row and with several together."""
    proofs.repository(tmp_path, config=TWO_LANES)
    stand_in(monkeypatch, add(0.01, unless))
    assert refusal(tmp_path) == SENTENCE
    stand_in(monkeypatch, add(0.0))
    assert len(load(tmp_path)) == 2


def test_a_picture_that_is_off_is_noticed_in_any_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without batches each lane is tried with each row."""
    unbatched = TWO_LANES.replace("max_batch_size: 4", "max_batch_size: 0")
    unbatched = unbatched.replace("dynamic_batching {}", "").replace("dims: [3]", "dims: [-1, 3]")
    proofs.repository(tmp_path, config=unbatched)
    last = proofs.held(models.colours())["output/scores"][-1]

    def not_last(session: Any, rows: Any) -> bool:
        return session.threads != 1 or not np.allclose(rows[-1], last, atol=1e-6)

    stand_in(monkeypatch, add(0.01, not_last))
    assert refusal(tmp_path) == SENTENCE


def test_what_is_no_number_is_refused_whatever_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN in one place fails, as does infinity, with the largest tolerance that can be given."""
    proofs.repository(tmp_path)

    def spoil(value: float) -> Change:
        def change(_: Session, answer: dict[str, np.ndarray]) -> None:
            answer["scores"] = answer["scores"].copy()
            answer["scores"][-1, -1] = value

        return change

    for value, said in ((np.nan, "returns NaN or infinity in 'scores'"), (np.inf, "off by inf")):
        stand_in(monkeypatch, spoil(value))
        assert said in refusal(tmp_path, ServerContext(ON_CPU.default, proof_tolerance=1e30))


def test_other_answers_are_refused_though_each_number_is_near(tmp_path: Path) -> None:
    """The share of equal best classes is held, too; who sets a tolerance is only told of it."""
    models.write(tmp_path, "same", models.identity(1, ["batch", 2]), "max_batch_size: 4")
    arrays = {
        "input/x": np.array([[0.41, 0.44], [0.9, 0.1]], np.float32),
        "output/y": np.array([[0.5, 0.35], [0.9, 0.1]], np.float32),
    }
    held = {"max_diff": {"y": 0.1}, "classes": "y"}
    proofs.write(tmp_path / "same" / "1", arrays, **held)
    said = (
        f"{placed.CPU} returns the original's answers in 50.00% of the proof, required are 100.00%"
    )
    assert refusal(tmp_path, name="same").startswith(said)
    (found, *_) = load(tmp_path, ServerContext(ON_CPU.default, proof_tolerance=0.1), "same")
    assert found.agreement == 0.5
    proofs.write(tmp_path / "same" / "1", arrays, **held, min_agreement=0.5)
    load(tmp_path, name="same")


# --- Shapes that callers see -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        (["batch", 4], "max_batch_size: 4"),
        (["batch", 4], "max_batch_size: 2"),
        (["batch", 4], ""),
        (["batch", 4], "max_batch_size: 0"),
        (["batch", 4], "input [{ name: 'x' data_type: TYPE_FP32 dims: [2, 4] }]"),
        ([1, 4], ""),
        ([3, 4], ""),
        ([7, 4], ""),
        (["batch", "any"], "max_batch_size: 4"),
        (["batch", "any"], ""),
        (
            ["batch", 4],
            "max_batch_size: 4 "
            "input [{ name: 'x' data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }]"
            "output [{ name: 'y' data_type: TYPE_FP32 dims: [4, 1] reshape { shape: [4] } }]",
        ),
        (
            [1, 4],
            "input [{ name: 'x' data_type: TYPE_FP32 dims: [4] reshape { shape: [1, 4] } }]"
            "output [{ name: 'y' data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [1, 4] } }]",
        ),
        (["batch", 4], "max_batch_size: 8 " + parameter("batch_sizes", "4,8")),
        (["batch", 4], "max_batch_size: 8 instance_group { count: 2 }"),
    ],
)
def test_a_proof_is_run_as_callers_ask(tmp_path: Path, shape: list[str | int], config: str) -> None:
    """Of any batch, in the shapes that config.pbtxt says, padded, by several instances."""
    models.write(tmp_path, "same", models.identity(1, shape), config)
    x = np.random.default_rng(0).random((5, 4), np.float32)
    proofs.write(tmp_path / "same" / "1", {"input/x": x, "output/y": x})
    for found in load(tmp_path, name="same"):
        assert (found.difference, found.agreement, found.rows) == (0.0, None, 5)
    proofs.write(tmp_path / "same" / "1", {"input/x": x, "output/y": x + np.float32(0.01)})
    assert "off by 0.01 in 'y'" in refusal(tmp_path, name="same")


def test_what_is_nan_in_a_proof_is_not_held(tmp_path: Path) -> None:
    """The original may be silent of a number; all others are held."""
    arrays = proofs.held(models.colours())
    proofs.repository(tmp_path)
    arrays["output/scores"][2, 1] = np.nan
    proofs.write(tmp_path / "colours" / "1", arrays)
    load(tmp_path)
    arrays["output/scores"][2, 2] += 0.01
    proofs.write(tmp_path / "colours" / "1", arrays)
    assert "off by 0.01" in refusal(tmp_path)


# --- A proof that cannot be used ---------------------------------------------------------------


def test_an_output_that_a_proof_leaves_out_is_told(tmp_path: Path) -> None:
    """What nobody compared is not said to be proven."""
    models.write(tmp_path, "both", models.sum_and_difference(), "max_batch_size: 0")
    ones = np.ones((2, 16), np.int32)
    arrays = {"input/INPUT0": ones, "input/INPUT1": ones, "output/OUTPUT0": ones + ones}
    proofs.write(tmp_path / "both" / "1", arrays)
    (found,) = load(tmp_path, name="both")
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


# --- Without a proof ---------------------------------------------------------------------------


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


# --- Detections --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "difference", "agreement"),
    [
        (TWO, 0.0, 1.0),
        (TWO[::-1], 0.0, 1.0),  # those with equal scores may come in any order
        ([(1, 0.9, 0.1), (2, 0.79, 0.5)], 0.01, 1.0),
        ([(1, 0.9, 0.1), (2, 0.8, 0.51)], 0.01, 1.0),
        ([(1, 0.9, 0.1)], 0.0, 2 / 3),
        ([(1, 0.9, 0.1), (3, 0.8, 0.5)], 0.0, 0.5),
        ([(1, 0.9, 0.1), (2, 0.8, 0.9)], 0.0, 0.5),
        ([*TWO, (5, 0.5005, 0.7)], 0.0, 1.0),  # on the threshold it may be on either side
        ([*TWO, (5, 0.6, 0.7)], 0.0, 0.8),
        ([], 0.0, 0.0),
    ],
)
def test_detections_are_compared_by_what_they_are_of(
    got: list[Seen], difference: float, agreement: float
) -> None:
    """Each that is sure has its like on the other side: of its class, where it is."""
    expected = outputs(TWO)
    proof = Proof(
        {"image": np.zeros((1, 2))}, expected, "fp32", "drawn", {"detections": 0.001}, 1, "", 0.5
    )
    found = comparison.compare(proof, (0,), outputs(got))
    assert found.differences["detections"] == pytest.approx(difference, abs=1e-6)
    assert found.agreement == pytest.approx(agreement)


def test_a_detector_that_gives_no_numbers_is_seen() -> None:
    """NaN among boxes counts, also past the last detection."""
    expected = outputs(TWO)
    proof = Proof(
        {"image": np.zeros((1, 2))}, expected, "fp32", "drawn", {"detections": 0.001}, 1, "", 0.5
    )
    spoilt = outputs(TWO)
    spoilt["detection_boxes"][0, 3, 0] = np.nan
    assert not comparison.compare(proof, (0,), spoilt).worst(proof.max_diff).fits


# --- Several processes -------------------------------------------------------------------------


def test_of_several_processes_the_worst_is_told() -> None:
    """The largest difference and the least agreement; one that found nothing changes nothing."""
    labels = ("m", "1", "CPUExecutionProvider")
    found = [(1e-6, 1.0), (0.01, 0.9), (None, None)]
    readings = [Reading(labels, Counters(), 0, {}, False, *one) for one in found]
    (total,) = merged(readings)
    assert (total.difference, total.agreement) == (0.01, 0.9)


def test_the_metrics_tell_in_what_a_provider_was_told_to_compute() -> None:
    """Beside the largest difference, so that who reads one reads the other."""
    found = Reading(("m", "1", OPENVINO), Counters(), 0, {}, False, 0.048, 1.0, "bf16 as asked")
    with (
        metrics.exporting("127.0.0.1", 0, lambda: [found]) as url,
        urllib.request.urlopen(url, timeout=30) as response,
    ):
        text = response.read().decode()
    labels = f'{{model="m",precision="bf16 as asked",provider="{OPENVINO}",version="1"}}'
    assert f"crossrun_model_proof_max_difference{labels} 0.048" in text
    assert f"crossrun_model_proof_agreement{labels} 1.0" in text


def test_a_proof_costs_a_handful_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lane answers each row, and all together: so agreement is the same share in each."""
    proofs.repository(tmp_path, config=TWO_LANES.replace("size: 4", "size: 8"))
    runs: list[tuple[int, int]] = []

    def count(session: Any, answer: dict[str, np.ndarray]) -> None:
        runs.append((session.threads, len(answer["scores"])))

    stand_in(monkeypatch, count)
    check = answer_check.check

    def proved(*given: Any) -> tuple[Evidence, ...]:
        runs.clear()
        return check(*given)

    monkeypatch.setattr(answer_check, "check", proved)
    load(tmp_path)
    rows = [*[1] * proofs.ROWS, proofs.ROWS]
    assert runs == [(threads, many) for threads in (2, 1) for many in rows]
