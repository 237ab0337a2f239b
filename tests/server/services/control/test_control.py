"""Model control over a real connection: loaded on request, overridden, sent, refused."""

import subprocess
import sys
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
    max_batch_size,
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

INVALID, INTERNAL = StatusCode.INVALID_ARGUMENT, StatusCode.INTERNAL

UNAVAILABLE = StatusCode.UNAVAILABLE


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


def test_files_need_the_operators_word(two_models: Path, log_file: Path) -> None:
    """Without --allow-model-upload a load with files is refused, and a configuration is not."""
    model = models.scale(5).SerializeToString()
    options = ("--model-control-mode", "explicit", "--load-model", "*")
    with serving(two_models, log_file, *options) as server, connected(server) as channel:
        stub = Stub(channel)
        for name in ("gather", "sent"):
            code, details = outcome(load(stub, name, {}, **{"1/model.onnx": model}))
            assert code == StatusCode.PERMISSION_DENIED
            assert details.startswith(f"failed to load {name!r}: it comes with files, which needs ")
        load(stub, "gather", {"max_batch_size": 4}).result()
        assert max_batch_size(stub, "gather") == 4
        assert not index(stub, "sent")


def test_links_stay_in_the_repository(stub: Stub, root: Path, room: Path) -> None:
    """A model, a version, a file or a label that is a link to elsewhere is not loaded."""
    two_versions(room / "elsewhere", "m")
    elsewhere = room / "elsewhere" / "m"
    cases = {
        "linked": (root / "linked", elsewhere),
        "version": (root / "version" / "1", elsewhere / "1"),
        "file": (root / "file" / "1" / "model.onnx", elsewhere / "1" / "model.onnx"),
        "labels": (root / "labels" / "labels.txt", room / "secret"),
        "loop": (root / "loop" / "1" / "again", root / "loop" / "1" / "again"),
    }
    for name, (link, target) in cases.items():
        if name in ("labels", "loop"):
            two_versions(root, name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        code, details = outcome(load(stub, name))
        assert code == INVALID
        where = link.relative_to(root)
        told = (
            "Too many levels of symbolic links"
            if name == "loop"
            else f"failed to load {name!r}: {where} is a link that leads out of the repository"
        )
        assert told in details
        assert not ready(stub, name)


def test_links_inside_the_repository_are_followed(stub: Stub, root: Path) -> None:
    """Such as another name for a model, or one file for two versions."""
    two_versions(root, "first")
    (root / "second").symlink_to("first")
    load(stub, "second").result()
    assert product(multiply(stub, "second")) == 6


def test_an_option_that_names_a_file_is_not_a_clients(stub: Stub) -> None:
    """The model stays as it was; see `tests/server/model_config/test_sent_options.py`."""
    options = {"openvino.cache_dir": {"string_value": "/tmp/cache"}}
    code, details = outcome(load(stub, "kept", {"parameters": options}))
    assert code == INVALID
    assert "a client may not choose openvino.cache_dir" in details
    assert product(multiply(stub, "kept")) == 6


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
