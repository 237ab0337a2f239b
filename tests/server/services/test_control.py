"""Model control over a real connection: explicit, polled, refused, failing, under load."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.control import (
    BOTH_VERSIONS,
    NOT_SERVING,
    SERVING,
    connected,
    index,
    load,
    multiply,
    product,
    ready,
    two_versions,
    unload,
    until,
    watch,
)
from tests.support.requests import outcome
from tests.support.running import Server, serving

EXPLICIT = ("--model-control-mode", "explicit")
INVALID, INTERNAL = StatusCode.INVALID_ARGUMENT, StatusCode.INTERNAL
UNAVAILABLE, LATE = StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED
SECONDS = 1_000_000  # turns of the slow model


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared server keeps its repository, its temporary files and its log."""
    room = tmp_path_factory.mktemp("explicit")
    (room / "temporary").mkdir()
    (room / "secret").write_text("do not tell")
    for name in ("kept", "m"):
        two_versions(room / "models", name)
    return room


@pytest.fixture(scope="module")
def server(room: Path) -> Iterator[Server]:
    """A server in mode explicit that has loaded `kept`; each test brings models of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(room / "temporary"))
        with serving(room / "models", room / "log", *EXPLICIT, "--load-model", "kept") as running:
            yield running


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[Stub]:
    with connected(server) as channel:
        yield Stub(channel)


@pytest.fixture
def root(room: Path) -> Path:
    """The shared server's repository."""
    return room / "models"


def slow(name: str, turns: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=name)
    message.inputs.add(name="turns", datatype="INT64", shape=[1])
    message.raw_input_contents.append(turns.to_bytes(8, "little"))
    return message


def at_work(stub: Stub, name: str) -> Any:
    """Send a slow request and come back once it is at work, so that the next one has to wait."""
    call = stub.ModelInfer.future(slow(name, SECONDS))
    while stub.ModelInfer.future(slow(name, 1), timeout=0.2).code() != LATE:
        pass
    return call


def max_batch_size(stub: Stub, name: str) -> int:
    answer = stub.ModelConfig(pb.ModelConfigRequest(name=name))
    size: int = answer.config.max_batch_size
    return size


def test_explicit_loads_what_is_asked_for(stub: Stub, root: Path) -> None:
    """From never loaded over READY to unloaded: index, readiness and inference agree."""
    two_versions(root, "asked")
    assert index(stub, "asked") == {"": ("", "")}
    assert not ready(stub, "asked")
    unknown = "Request for unknown model: 'asked'"
    assert outcome(multiply(stub, "asked")) == (
        UNAVAILABLE, f"{unknown} has no available versions: not loaded"
    )  # fmt: skip
    load(stub, "asked").result()
    assert index(stub, "asked", ready=True) == {"2": ("READY", "")}
    assert ready(stub, "asked")
    assert product(multiply(stub, "asked")) == 6
    unload(stub, "asked").result()
    until(stub, "asked", "2", "UNAVAILABLE", "unloaded")
    assert index(stub, "asked", ready=True) == {}
    assert not ready(stub, "asked")
    assert outcome(multiply(stub, "asked")) == (
        UNAVAILABLE, f"{unknown} has no available versions: unloaded"
    )  # fmt: skip
    assert outcome(multiply(stub, "asked", "2")) == (
        UNAVAILABLE, f"{unknown} version 2 is not at ready state: unloaded"
    )  # fmt: skip
    assert outcome(multiply(stub, "asked", "9"))[0] == StatusCode.NOT_FOUND


def test_health_follows_a_model(server: Server) -> None:
    """Every watcher sees each change, whoever else has left; Check says the same."""
    with connected(server) as channel:
        stub, health = Stub(channel), health_pb2_grpc.HealthStub(channel)
        leaving, staying = watch(channel, "m"), watch(channel, "m")
        assert next(leaving).status == next(staying).status == NOT_SERVING
        leaving.cancel()
        for change, expected in ((load, SERVING), (unload, NOT_SERVING), (load, SERVING)):
            change(stub, "m").result()
            assert next(staying).status == expected
            request = health_pb2.HealthCheckRequest(service="m")
            assert health.Check(request).status == expected  # type: ignore[attr-defined]


def test_a_config_override_replaces_the_file_until_the_next_load(stub: Stub, root: Path) -> None:
    """JSON as clients write it, numbers as text too; a load without it reads the disk again."""
    two_versions(root, "over")
    (root / "over" / "config.pbtxt").write_text(BOTH_VERSIONS)
    load(stub, "over", {"max_batch_size": "16"}).result()
    assert max_batch_size(stub, "over") == 16
    assert index(stub, "over").keys() == {"2"}  # the file's version policy is replaced too
    load(stub, "over").result()
    assert max_batch_size(stub, "over") == 8
    assert index(stub, "over") == dict.fromkeys("12", ("READY", ""))
    load(stub, "over", {"version_policy": {"specific": {"versions": [1]}}}).result()
    assert product(multiply(stub, "over")) == 3
    until(stub, "over", "2", "UNAVAILABLE", "unloaded")


def test_a_model_can_be_sent_over_the_wire(stub: Stub, root: Path, room: Path) -> None:
    """Files stand in for the folder, whether there is one or not, and none stays behind."""
    two_versions(root, "there")
    sent = {"7/model.onnx": models.scale(7).SerializeToString(), "l.txt": b"seven\n"}
    output = {"name": "y", "data_type": "TYPE_FP32", "dims": [1], "label_filename": "l.txt"}
    for name in ("there", "nowhere"):
        load(stub, name, {"max_batch_size": 2, "output": [output]}, **sent).result()
        assert product(multiply(stub, name, "7")) == 21
        assert index(stub, name) == {"7": ("READY", "")}
        code, details = outcome(load(stub, name, {}, **{"7/model.onnx": b"not a model"}))
        assert (code, "onnxruntime cannot load" in details) == (INVALID, True)
        assert product(multiply(stub, name)) == 21
        assert not list((room / "temporary").glob("crossrun-*"))


def test_a_failed_reload_leaves_the_old_one_serving(stub: Stub, root: Path) -> None:
    """The caller of the load and the index get the error; callers of the model notice nothing."""
    two_versions(root, "hurt")
    load(stub, "hurt").result()
    file = root / "hurt" / "2" / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(b"half a mod")
    code, details = outcome(load(stub, "hurt"))
    assert code == INVALID
    expected = "failed to load 'hurt': version 2: onnxruntime cannot load model.onnx"
    assert details.startswith(expected)
    assert product(multiply(stub, "hurt")) == 6
    assert index(stub, "hurt") == {"2": ("READY", details)}
    (root / "hurt" / "config.pbtxt").write_text(BOTH_VERSIONS)
    assert outcome(load(stub, "hurt"))[0] == INVALID
    assert index(stub, "hurt") == {"1": ("UNAVAILABLE", details), "2": ("READY", details)}
    file.write_bytes(whole)
    load(stub, "hurt").result()
    assert index(stub, "hurt") == dict.fromkeys("12", ("READY", ""))


POLL_FAILED = "failed to load 'kept', failed to poll from model repository: "


@pytest.mark.parametrize(
    ("name", "parameters", "code", "expected"),
    [
        ("nobody", {}, INTERNAL,
         "failed to load 'nobody', failed to poll from model repository: there is no folder"),
        ("A" * 256, {}, INTERNAL, "failed to poll from model repository"),
        ("../m", {}, INVALID, "failed to load '../m': that cannot be"),
        ("..", {}, INVALID, "that cannot be a model's name"),
        (".git", {}, INVALID, "that cannot be a model's name"),
        ("/etc", {}, INVALID, "that cannot be a model's name"),
        ("", {}, INVALID, "that cannot be a model's name"),
        ("kept", {"config": "{{}"}, INTERNAL, POLL_FAILED + "config: "),
        ("kept", {"config": '{"max_batchsize": 1}'}, INTERNAL, '"max_batchsize"'),
        ("kept", {"config": '{"name": "n"}'}, INVALID, "names the model 'n'"),
        ("kept", {"config": '{"default_model_filename": "../../secret"}'},
         INVALID, "'../../secret' does not name a file in the model's folder"),
        ("kept", {"config": '{"max_batch_size": 8, "output": [{"name": "y", "dims": [1],'
                            '"data_type": "TYPE_FP32", "label_filename": "../../secret"}]}'},
         INVALID, "'../../secret' does not name a file in the model's folder"),
        ("kept", {"config": b"{}"}, INVALID, "expected string_param"),
        ("kept", {"file:1/model.onnx": "text"}, INVALID, "expected bytes_param"),
        ("kept", {"colour": "red"}, INVALID, "unrecognized load parameter 'col"),
        ("kept", {"file:1/model.onnx": b"x"}, INTERNAL, POLL_FAILED + "files were given "),
        ("kept", {"config": "{}", "file:../1/model.onnx": b"x"}, INTERNAL,
         POLL_FAILED + "file: '../1/model.onnx' does not name a file in the model's folder"),
        ("kept", {"config": "{}", "file:/1/model.onnx": b"x"}, INTERNAL, "does not name"),
        ("kept", {"config": "{}", "file:1\\..\\..\\x": b"x"}, INTERNAL, "does not name"),
        ("kept", {"config": "{}", "file:": b"x"}, INTERNAL, "does not name"),
        ("kept", {"config": "{}", "file:" + "A" * 256: b"x"}, INTERNAL, POLL_FAILED),
        ("kept", {"config": "{}", "file:model.onnx": b"x"}, INVALID,
         "failed to load 'kept': kept has no version; expected kept/1/model.onnx"),
    ],
)  # fmt: skip
def test_a_load_that_is_refused_says_why(
    stub: Stub, name: str, parameters: dict[str, Any], code: StatusCode, expected: str
) -> None:
    """Nothing leaves the repository, nothing is passed over, and the model stays as it was."""
    message = pb.RepositoryModelLoadRequest(model_name=name)
    for key, value in parameters.items():
        kind = "bytes_param" if isinstance(value, bytes) else "string_param"
        setattr(message.parameters[key], kind, value)
    told = outcome(stub.RepositoryModelLoad.future(message))
    assert told[0] == code
    assert expected in told[1]
    assert product(multiply(stub, "kept")) == 6
    assert index(stub, "kept").keys() == {"2"}


def test_other_refusals_name_what_was_expected(stub: Stub) -> None:
    """An unknown name, another repository and a strange parameter are told apart."""
    assert outcome(unload(stub, "nobody"))[0] == StatusCode.NOT_FOUND
    wrong = pb.RepositoryModelUnloadRequest(model_name="kept")
    wrong.parameters["unload_dependents"].string_param = "yes"
    assert "expected bool_param" in outcome(stub.RepositoryModelUnload.future(wrong))[1]
    strange = pb.RepositoryModelUnloadRequest(model_name="kept")
    strange.parameters["gently"].bool_param = True
    assert "'gently'" in outcome(stub.RepositoryModelUnload.future(strange))[1]
    for repository, code in (("models", StatusCode.OK), ("else", INVALID)):
        request = pb.RepositoryIndexRequest(repository_name=repository)
        assert stub.RepositoryIndex.future(request).code() == code
    assert ready(stub, "kept")


def test_dependents_can_be_named_where_there_are_none(stub: Stub, root: Path) -> None:
    """unload_dependents is accepted: no model here depends on another."""
    two_versions(root, "alone")
    load(stub, "alone").result()
    message = pb.RepositoryModelUnloadRequest(model_name="alone")
    message.parameters["unload_dependents"].bool_param = True
    stub.RepositoryModelUnload(message)
    assert not ready(stub, "alone")


def test_an_unloaded_model_finishes_what_it_has(stub: Stub, root: Path) -> None:
    """The unload answers at once, new requests are refused, the one at work is answered."""
    models.write(root, "leaving", models.slow(), models.ONE_AT_A_TIME)
    load(stub, "leaving").result()
    accepted = at_work(stub, "leaving")
    unload(stub, "leaving").result()
    assert index(stub, "leaving") == {"1": ("UNLOADING", "")}
    assert stub.ModelInfer.future(slow("leaving", 1)).code() == UNAVAILABLE
    assert not accepted.done()
    assert len(accepted.result().raw_output_contents) == 1
    until(stub, "leaving", "1", "UNAVAILABLE", "unloaded")


def test_a_batch_at_work_is_never_cut_off(stub: Stub, root: Path) -> None:
    """If a caller has left, the session is released only after its run has ended."""
    models.write(root, "left", models.slow(), models.ONE_AT_A_TIME)
    load(stub, "left").result()
    at_work(stub, "left").cancel()
    unload(stub, "left").result()
    assert index(stub, "left") == {"1": ("UNLOADING", "")}
    until(stub, "left", "1", "UNAVAILABLE", "unloaded")


def test_a_replaced_model_finishes_what_it_has(stub: Stub, root: Path) -> None:
    """While the old version is at work, the new one answers, and the index calls it READY."""
    models.write(root, "replaced", models.slow(), models.ONE_AT_A_TIME)
    load(stub, "replaced").result()
    accepted = at_work(stub, "replaced")
    load(stub, "replaced").result()
    assert stub.ModelInfer.future(slow("replaced", 1)).code() == StatusCode.OK
    assert not accepted.done()
    assert len(accepted.result().raw_output_contents) == 1
    assert index(stub, "replaced") == {"1": ("READY", "")}


def load_slowly(stub: Stub, root: Path, name: str) -> Any:
    """Load a slow model whose warm-up takes seconds, and come back once that is at work."""
    models.write(root, name, models.slow(), models.ONE_AT_A_TIME)
    (root / name / "warmup").mkdir()
    (root / name / "warmup" / "turns").write_bytes(SECONDS.to_bytes(8, "little"))
    sample = {"turns": {"data_type": "TYPE_INT64", "dims": [1], "input_data_file": "turns"}}
    loading = load(stub, name, {"model_warmup": [{"name": "turns", "inputs": sample}]})
    until(stub, name, "1", "LOADING")
    return loading


def test_a_load_keeps_nobody_waiting(stub: Stub, root: Path) -> None:
    """While a model warms up the index says LOADING and others answer; it needs no caller."""
    loading = load_slowly(stub, root, "long")
    assert product(multiply(stub, "kept")) == 6
    code, details = outcome(stub.ModelInfer.future(slow("long", 1)))
    assert (code, details.rpartition(" ")[2]) == (UNAVAILABLE, "LOADING")
    assert not loading.done()
    loading.cancel()
    until(stub, "long", "1", "READY")


def test_loads_of_one_model_take_turns(stub: Stub, root: Path) -> None:
    """A load that is sent while another is at work comes after it and holds."""
    first = load_slowly(stub, root, "turns")
    second = load(stub, "turns", {"max_batch_size": 0})
    second.result()
    assert first.done()
    assert first.code() == StatusCode.OK
    config = stub.ModelConfig(pb.ModelConfigRequest(name="turns")).config
    assert not config.model_warmup


def test_loads_sent_together_all_succeed(stub: Stub, root: Path) -> None:
    """Whatever their order, each is answered and one whole model is left."""
    two_versions(root, "busy")
    calls = [load(stub, "busy", {"max_batch_size": size}) for size in range(1, 9)]
    for call in calls:
        call.result()
    assert max_batch_size(stub, "busy") in range(1, 9)
    assert product(multiply(stub, "busy")) == 6
    assert index(stub, "busy") == {"2": ("READY", "")}


def test_tritonclient_controls_models(server: Server) -> None:
    """What its users do: index, load, override, send files, unload, and its errors."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.stock_control", server.address],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "all calls answered"
