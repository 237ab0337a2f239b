"""The server as a process: starting, health, refusing early, stopping without losing anybody."""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.modes import Control, LoadPolicy
from crossrun_server.models.repository import Repository
from tests.support import models
from tests.support.requests import AGES, code_of, slow, until_running
from tests.support.running import BIN, ON_CPU, Command, Server, serving
from tests.support.telemetry import until_pending

SERVING, NOT_SERVING = 1, 2


def test_health_knows_the_server_and_each_model(channel: grpc.Channel) -> None:
    """Check answers for "", for each service and each model; anything else is NOT_FOUND."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", "simple", "inference.GRPCInferenceService", "crossrun.v1.Vision"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() == StatusCode.NOT_FOUND


def test_the_server_tells_the_name_it_was_given(tmp_path: Path, channel: grpc.Channel) -> None:
    """Clients that look for a server of another name can be given one."""
    models.write(tmp_path / "m", "gather", models.gather())
    ask = pb.ServerMetadataRequest()
    assert Stub(channel).ServerMetadata(ask).name == "crossrun"
    with (
        serving(tmp_path / "m", tmp_path / "log", "--server-name", "triton") as running,
        grpc.insecure_channel(running.address) as renamed,
    ):
        assert Stub(renamed).ServerMetadata(ask).name == "triton"


def test_a_stop_lets_accepted_requests_finish(slow_server: Server) -> None:
    """On SIGTERM: NOT_SERVING, new requests UNAVAILABLE, the one at work answered, exit 0."""
    with grpc.insecure_channel(slow_server.address) as channel:
        stub = Stub(channel)
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="slow"))
        assert next(watch).status == SERVING
        accepted = until_running(stub)
        slow_server.process.terminate()
        assert next(watch).status == NOT_SERVING
        assert code_of(stub.ModelInfer.future(slow(1))) == StatusCode.UNAVAILABLE
        assert not stub.ModelReady(pb.ModelReadyRequest(name="slow")).ready
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready
        assert not accepted.done()
        assert len(accepted.result().raw_output_contents) == 1
    assert slow_server.process.wait(60) == 0
    assert "stopped" in slow_server.log.read_text()


def test_a_second_signal_forces_the_end(slow_server: Server) -> None:
    """A second signal ends the server without waiting for requests at work."""
    with grpc.insecure_channel(slow_server.address) as channel:
        accepted = until_running(Stub(channel))
        slow_server.process.terminate()
        while "draining" not in slow_server.log.read_text():
            time.sleep(0.01)
        slow_server.process.terminate()
        assert code_of(accepted) == StatusCode.UNAVAILABLE
    assert slow_server.process.wait(60) == 1


def test_a_full_queue_and_a_passed_deadline_are_told_apart(slow_server: Server) -> None:
    """Full is RESOURCE_EXHAUSTED at once; waiting too long is DEADLINE_EXCEEDED."""
    with grpc.insecure_channel(slow_server.address) as channel:
        stub = Stub(channel)
        running = until_running(stub, slow(20 * AGES))
        until_pending(slow_server, 0)  # those by which that is seen
        waiting = stub.ModelInfer.future(slow(1))
        refused = next(  # sent until the one that waits has arrived before it
            code
            for code in (code_of(stub.ModelInfer.future(slow(1), timeout=0.2)) for _ in range(50))
            if code != StatusCode.DEADLINE_EXCEEDED
        )
        assert refused == StatusCode.RESOURCE_EXHAUSTED
        waiting.cancel()
        running.cancel()
    assert slow_server.stop() == 0


def test_the_server_never_imports_tensorflow(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a serving process has imported, requests answered, holds nothing of the other areas."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with serving(tiny_models, tmp_path / "log") as running:
        with grpc.insecure_channel(running.address) as channel:
            Stub(channel).ModelMetadata(pb.ModelMetadataRequest(name="simple"))
        assert running.stop() == 0
        lines = running.log.read_text().splitlines()
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in lines
        if line.startswith("import time:")
    }
    assert {"onnxruntime", "grpc", "crossrun_server"} <= imported
    forbidden = {"tensorflow", "keras", "tf2onnx", "onnx", "cv2", "scipy", "plotly", "matplotlib"}
    assert not imported & (forbidden | {"crossrun_export", "crossrun_bench"})


def test_the_server_reports_to_nobody(
    tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime's telemetry, which opens a session of its own in TMPDIR, is off."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with serving(tiny_models, tmp_path / "log") as running:
        assert running.stop() == 0
    assert list(scratch.iterdir()) == []


def test_a_port_in_use_is_one_line(server: Server, tiny_models: Path, run: Command) -> None:
    """A second server on a port fails instead of sharing it."""
    port = server.address.rpartition(":")[2]
    ended = run("crossrun-serve", tiny_models, "--port", port)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr.splitlines()[-1]


def broken_config(text: str) -> dict[str, str | bytes]:
    return {"config.pbtxt": text}


BROKEN: dict[str, tuple[dict[str, str | bytes], str]] = {
    "no such field": (broken_config("max_batchsize: 8"), 'has no field named "max_batchsize"'),
    "another name": (broken_config('name: "other"'), "config.pbtxt names the model 'other'"),
    "another backend": (broken_config('backend: "python"'), "only ONNX models are served"),
    "a reshape of another size": (
        broken_config('input [{ name: "x" data_type: TYPE_FP32 dims: [3] '
                      'reshape { shape: [2, 1] } }]'),
        "'x' has dims [3] and reshape [2, 1]; expected as many elements in both",
    ),
    "a reshape that is not the model's": (
        broken_config('input [{ name: "x" data_type: TYPE_FP32 dims: [2] '
                      'reshape { shape: [1, 2] } }]'),
        "'x' is declared [1, 2], but the model has [2, 1]",
    ),
    "sequences": (broken_config("sequence_batching {}"), "sequence_batching is not supported"),
    "unknown input": (
        broken_config('input [{ name: "z" data_type: TYPE_FP32 dims: [1] }]'),
        "the model has no 'z'; it has x",
    ),
    "wrong dtype": (
        broken_config('input [{ name: "x" data_type: TYPE_INT8 dims: [2, 1] }]'),
        "'x' is declared TYPE_INT8, but the model has FP32",
    ),
    "wrong shape": (
        broken_config('input [{ name: "x" data_type: TYPE_FP32 dims: [2, 9] }]'),
        "'x' is declared [2, 9], but the model has [2, 1]",
    ),
    "wrong dims for its format": (
        broken_config('input [{ name: "x" data_type: TYPE_FP32 dims: [2, 1] '
                      'format: FORMAT_NHWC }]'),
        "'x' is FORMAT_NHWC, expected 3 dims, got [2, 1]",
    ),
    "no batch dimension": (broken_config("max_batch_size: 8"), "max_batch_size is 8, but"),
    "a negative batch size": (broken_config("max_batch_size: -1"), "expected 0 or more"),
    "a size below any": (
        broken_config('input [{ name: "x" data_type: TYPE_FP32 dims: [-2, 1] }]'),
        "'x' has the size -2, expected 1 or more, or -1 for any",
    ),
    "a size of nothing": (
        broken_config('output [{ name: "y" data_type: TYPE_FP32 dims: [0, 1] }]'),
        "'y' has the size 0, expected 1 or more",
    ),
    "an input twice": (
        broken_config('input [{ name: "x" data_type: TYPE_FP32 dims: [2, 1] }, '
                      '{ name: "x" data_type: TYPE_FP32 dims: [2, 1] }]'),
        "'x' is declared twice",
    ),
    "more threads than can be": (
        broken_config('parameters { key: "intra_op_thread_count" '
                      'value { string_value: "99999999999" } }'),
        "'intra_op_thread_count' is '99999999999', expected a whole number of at most 4 digits",
    ),
    "no version at all": (
        broken_config("version_policy { specific {} }"),
        "version_policy.specific names no version",
    ),
    "missing version": (
        broken_config("version_policy { specific { versions: 7 } }"),
        "has no version 7",
    ),
    "missing labels": (
        broken_config('output [{ name: "y" data_type: TYPE_FP32 dims: [2, 1] '
                      'label_filename: "no.txt" }]'),
        "no.txt is missing",
    ),
    "no ONNX": ({"1/model.onnx": b"not a model"}, "onnxruntime cannot load model.onnx"),
    "a dictionary for each row": (
        {"1/model.onnx": models.zipmap().SerializeToString()},
        "'y' is a seq(map(int64,tensor(float))), which cannot be served; convert the classifier "
        "with zipmap=False",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_model_that_cannot_load_says_why(case: str, tmp_path: Path) -> None:
    """The error names the model and what is wrong with it."""
    models.write(tmp_path, "broken", models.identity(models.ELEMENT_TYPES["FP32"], [2, 1]))
    files, expected = BROKEN[case]
    for name, content in files.items():
        path = tmp_path / "broken" / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LoadError) as caught:
        loader.load(ModelSource(tmp_path / "broken"), ON_CPU)
    assert str(caught.value).startswith("failed to load 'broken': ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "is not a folder; expected a model repository"),
        ("empty", "holds no model; expected NAME/1/model.onnx"),
        ("versionless", "has no version; expected mobilenet/1/model.onnx"),
    ],
)
def test_a_folder_without_models_is_refused(name: str, expected: str, tmp_path: Path) -> None:
    """No folder, an empty folder and a model without a version each say what was expected."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "versionless" / "mobilenet").mkdir(parents=True)
    control = Control(Repository(tmp_path / name, ON_CPU), LoadPolicy())
    with pytest.raises(LoadError, match=expected):
        asyncio.run(control.start())


def test_a_start_that_fails_is_one_line(tmp_path: Path, run: Command) -> None:
    """The server does not start half: one line on stderr, nothing on stdout, exit code 1."""
    models.write(tmp_path, "good", models.gather())
    (tmp_path / "good" / "config.pbtxt").write_text("platform: 'tensorrt_plan'")
    ended = run("crossrun-serve", tmp_path, "--port", 0)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("crossrun-serve: failed to load 'good': ")


def test_a_config_field_without_effect_is_logged(tmp_path: Path) -> None:
    """A field that is not implemented is ignored with a warning."""
    model = models.identity(models.ELEMENT_TYPES["FP32"], ["batch", 1])
    text = "max_batch_size: 2\nresponse_cache { enable: true }\n"
    text += "optimization { graph { level: 1 } } parameters { key: 'colour' value {} }"
    models.write(tmp_path / "m", "plain", model, text)
    with serving(tmp_path / "m", tmp_path / "log") as running:
        log = running.log.read_text()
    for field in ("response_cache", "optimization.graph", "parameters.colour"):
        assert log.count(f"plain: {field} in config.pbtxt has no effect") == 1
    assert "max_batch_size in" not in log


def test_a_server_without_stderr_starts(tiny_models: Path, tmp_path: Path) -> None:
    """A server whose stderr is closed serves, and logs nothing."""
    shutil.copytree(tiny_models / "simple", tmp_path / "simple")
    command = f"exec {BIN}/crossrun-serve {tmp_path} --port 0 --no-metrics --no-allow-http 2>&-"
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("crossrun: serving on ")
        process.terminate()
        assert process.wait(60) == 0


def test_an_error_is_never_too_long_for_its_client(channel: grpc.Channel) -> None:
    """A text that would not fit into gRPC's metadata is cut, so that its code arrives."""
    for letter in "zö🙂":
        request = slow(1)
        request.model_name = 30_000 * letter
        call: Any = Stub(channel).ModelInfer.future(request)
        assert code_of(call) == StatusCode.NOT_FOUND
        assert call.details().startswith(f"Request for unknown model: '{letter}")
