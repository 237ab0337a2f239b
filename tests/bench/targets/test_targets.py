"""Every target answers as the reference does, or says in one line why it cannot."""

import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.tfserving import prediction_service_pb2 as tfs
from crossrun.v1 import providers_pb2 as providers
from crossrun.v1 import vision_pb2 as vision
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.answers.classes import asked
from crossrun_bench.measurements.answers.gathering import ready
from crossrun_bench.measurements.rounds import started
from crossrun_bench.models.model import Model, scaled
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.processes import shared_memory
from crossrun_bench.processes.serving import serving
from crossrun_bench.progress import bar
from crossrun_bench.targets.choice import chosen
from crossrun_bench.targets.subjects import Asked, subjects_of
from crossrun_bench.targets.targets import TARGETS, runner_for
from crossrun_bench.targets.task import Task
from tests.support import fakes
from tests.support.fakes import Method
from tests.support.running import Server
from tests.support.tfserving import predict, signature, tensorflow_serving

FLOAT_SIGNATURE = ("DT_FLOAT", [-1, 8, 8, 3])
PLACEMENTS = (providers.ListPlacementsRequest, lambda *_: providers.ListPlacementsResponse())
OURS = ("crossrun.v1.Providers", {"ListPlacements": PLACEMENTS})  # what a client of ours asks first


@pytest.fixture
def model(colours: Path) -> Model:
    return read_model(colours, "colours")


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return drawn(tmp_path, 4, 8, 8)


def left_behind() -> list[Path]:
    return list(shared_memory.FOLDER.glob("crossrun-bench-*"))


def test_targets_without_tensorflow_answer_alike(
    colours: Path, model: Model, pictures: Pictures, tmp_path: Path
) -> None:
    """OpenVINO and the server's forms of a tensor give onnxruntime's answers to each picture."""
    wanted = Asked(colours, "colours", ("onnxruntime", "openvino", "grpc-typed", "grpc-shm"))
    files = [Path(file) for file in pictures.files]
    with ExitStack() as stack, bar(0) as step:
        subjects = subjects_of(wanted, model, pictures, tmp_path, stack)
        tasks = [subject.task for subject in subjects]
        said = asked(ready(tasks, stack), files, tmp_path, step)
    assert [len(target) for target in said] == [4] * 4
    for target in said:
        assert max(answer.difference for answer in target) < 1e-6


@pytest.mark.parametrize(("every_class", "top_k"), [(False, 0), (True, 3)])
def test_encoded_pictures_are_timed_as_clients_ask(
    model: Model, pictures: Pictures, every_class: bool, top_k: int
) -> None:
    """Whose answers are compared is asked for every class; a client asks for the best few."""
    seen: list[vision.ClassifyRequest] = []

    def classify(request: vision.ClassifyRequest, _: object) -> vision.ClassifyResponse:
        seen.append(request)
        best = vision.Classification(classes=[vision.Class(index=2, score=0.75)])
        return vision.ClassifyResponse(results=[best])

    methods: dict[str, tuple[type[Any], Method]] = {"Classify": (vision.ClassifyRequest, classify)}
    with fakes.services(("crossrun.v1.Vision", methods), OURS) as address:
        task = Task("grpc-jpeg", model, pictures, address, every_class=every_class)
        answer = runner_for(task).run(pictures.batch(0, 1))
    assert [request.top_k for request in seen] == [top_k]
    assert answer.tolist() == [[0, 0, 0.75]]


@pytest.mark.parametrize("target", ["grpc-raw", "grpc-typed", "oip"])
def test_a_model_of_float32_takes_scaled_pixels(
    model: Model, pictures: Pictures, target: str
) -> None:
    """Where model.onnx takes FP32, so does its server, raw or typed."""
    seen: list[oip.ModelInferRequest] = []

    def infer(request: oip.ModelInferRequest, _: grpc.ServicerContext) -> oip.ModelInferResponse:
        seen.append(request)
        reply = oip.ModelInferResponse()
        output = reply.outputs.add(name=model.output_name, datatype="FP32", shape=[2, 3])
        output.contents.fp32_contents.extend(range(6))
        return reply

    methods: dict[str, tuple[type[Any], Method]] = {
        "ModelInfer": (oip.ModelInferRequest, infer),
        "ModelMetadata": (oip.ModelMetadataRequest, lambda *_: oip.ModelMetadataResponse()),
    }
    batch = pictures.batch(0, 2)
    with fakes.services(("inference.GRPCInferenceService", methods), OURS) as address:
        task = Task(target, replace(model, input_type="FP32"), pictures, address)
        answer = runner_for(task).run(batch)
    (tensor,) = seen[0].inputs
    typed = np.array(tensor.contents.fp32_contents, np.float32)
    raw = np.frombuffer(b"".join(seen[0].raw_input_contents), np.float32)
    assert (tensor.datatype, list(tensor.shape)) == ("FP32", [2, 8, 8, 3])
    assert np.array_equal(np.concatenate([typed, raw]), scaled(model, batch.pixels).ravel())
    assert answer.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_shared_memory_grows_with_the_batch_and_leaves_nothing(
    colours: Path, model: Model, pictures: Pictures
) -> None:
    """Turns of 1, 4 and 1 pictures use one region; its name is gone while it is in use."""
    with serving(colours, "colours", options=["--shared-memory"]) as server:
        with started(Task("grpc-shm", model, pictures, server.address)) as child:
            child.hear()
            for batch in (1, 4, 1):
                assert child.ask(do="turn", batch=batch, seconds=0.01)["ns"]
            assert not left_behind()
        runner = runner_for(Task("grpc-shm", model, pictures, server.address))
        batch_of_4 = pictures.batch(0, 4)
        assert np.allclose(runner.run(batch_of_4), fakes.expected(model, batch_of_4), atol=1e-6)
    assert not left_behind()


def test_a_process_killed_while_it_registers_leaves_nothing(
    model: Model, pictures: Pictures
) -> None:
    """Shared memory that a server has not taken yet is removed with the process that made it."""
    registering, ended = threading.Event(), threading.Event()

    def register(*_: Any) -> Any:
        registering.set()
        ended.wait(30)
        return oip.SystemSharedMemoryRegisterResponse()

    unregistered = oip.SystemSharedMemoryUnregisterResponse
    methods: dict[str, tuple[type[Any], Method]] = {
        "SystemSharedMemoryUnregister": (
            oip.SystemSharedMemoryUnregisterRequest,
            lambda *_: unregistered(),
        ),
        "SystemSharedMemoryRegister": (oip.SystemSharedMemoryRegisterRequest, register),
    }
    with fakes.services(("inference.GRPCInferenceService", methods), OURS) as address:
        with started(Task("grpc-shm", model, pictures, address)):
            assert registering.wait(30)
            assert left_behind()
        assert not left_behind()
        ended.set()


def test_a_server_without_shared_memory_is_told(
    server: Server, model: Model, pictures: Pictures
) -> None:
    """What the server lacks is named, and nothing is left."""
    runner = runner_for(Task("grpc-shm", model, pictures, server.address))
    with pytest.raises(BenchError, match="Start the server with '--shared-memory'"):
        runner.run(pictures.batch(0, 1))
    assert not left_behind()


def test_any_server_of_the_protocol_is_asked(
    server: Server, model: Model, pictures: Pictures
) -> None:
    """By its address alone, and its answers are the model's."""
    batch = pictures.batch(0, 4)
    answer = runner_for(Task("oip", model, pictures, server.address)).run(batch)
    assert np.allclose(answer, fakes.expected(model, batch), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_name": "pixels"}, "expected one input pixels UINT8 .*, got image UINT8"),
        ({"input_type": "FP32"}, "expected one input image FP32 .*, got image UINT8"),
        ({"height": 9}, r"expected one input image UINT8 \[-1, 9, 8, 3\], got .*\[-1, 8, 8, 3\]"),
        ({"output_name": "p"}, r"expected an output p FP32 \[-1, 3\], got scores FP32 \[-1, 3\]"),
        ({"classes": 5}, r"expected an output scores FP32 \[-1, 5\], got scores FP32 \[-1, 3\]"),
        ({"name": "x"}, "NOT_FOUND"),
    ],
)
def test_another_model_behind_the_address_is_told(
    server: Server, model: Model, pictures: Pictures, change: dict[str, Any], said: str
) -> None:
    """Before anything is asked: whose tensors differ, and how."""
    with pytest.raises(BenchError, match=f"^{server.address}: .*{said}"):
        runner_for(Task("oip", replace(model, **change), pictures, server.address))


@pytest.mark.parametrize(("datatype", "raw"), [("DT_FLOAT", False), ("DT_UINT8", True)])
def test_tensorflow_serving_is_asked(
    model: Model, pictures: Pictures, datatype: str, raw: bool
) -> None:
    """With float32 or uint8, as its signature takes it; numbers or bytes come back."""
    batch = pictures.batch(0, 4)
    methods = (
        signature((datatype, [-1, 8, 8, 3])),
        predict(model, datatype, raw),
    )
    with tensorflow_serving(*methods) as address:
        answer = runner_for(Task("tfserving", model, pictures, address)).run(batch)
    assert np.allclose(answer, fakes.expected(model, batch), atol=1e-6)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            signature(("DT_FLOAT", [-1, 9, 9, 3])),
            r"expected one input .*, got input_layer DT_F",
        ),
        (
            signature(FLOAT_SIGNATURE, outputs=2),
            "expected one output .*, got output_0 .*output_1",
        ),
        (lambda *_: tfs.GetModelMetadataResponse(), "expected a signature 'serving_default'"),
    ],
)
def test_another_signature_is_told(
    model: Model, pictures: Pictures, metadata: Method, said: str
) -> None:
    """Before anything is asked: what the signature takes or gives, and what was expected."""
    with (
        tensorflow_serving(metadata, metadata) as address,
        pytest.raises(BenchError, match=f"^{address}: {said}"),
    ):
        runner_for(Task("tfserving", model, pictures, address))


def test_our_server_is_asked_as_tensorflow_serving_is(
    server: Server, model: Model, pictures: Pictures
) -> None:
    """It has that service, too."""
    batch = pictures.batch(0, 4)
    answer = runner_for(Task("tfserving", model, pictures, server.address)).run(batch)
    assert np.allclose(answer, fakes.expected(model, batch), atol=1e-6)


def test_a_server_of_another_protocol_is_told(model: Model, pictures: Pictures) -> None:
    """A status and the address, not a hang."""
    with (
        fakes.services() as address,
        pytest.raises(BenchError, match=f"^{address}: UNIMPLEMENTED"),
    ):
        runner_for(Task("tfserving", model, pictures, address))


@pytest.mark.parametrize(
    ("target", "package"), [("openvino", "openvino"), ("litert", "ai_edge_litert.interpreter")]
)
def test_a_missing_package_is_named_with_its_extra(
    model: Model, pictures: Pictures, monkeypatch: pytest.MonkeyPatch, target: str, package: str
) -> None:
    """What to install, for a runtime that not everybody has."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"crossrun_bench.targets.runners.{target}_", raising=False)
    extra = TARGETS[target].extra
    with pytest.raises(
        BenchError, match=rf"needs {package}.* extra \[{extra}\] of crossrun-inference"
    ):
        runner_for(Task(target, model, pictures))


@pytest.mark.parametrize(
    ("targets", "server", "said"),
    [
        (["oip"], None, "oip is a running server: expected --server HOST:PORT"),
        (["grpc-raw"], "h:1", "needs one of the targets oip, tfserving"),
        (["tfserving"], "somewhere", "expected HOST:PORT"),
    ],
)
def test_an_address_belongs_to_targets_that_need_one(
    targets: list[str], server: str | None, said: str
) -> None:
    """It is neither guessed nor ignored."""
    with pytest.raises(BenchError, match=said):
        chosen(targets, server)
