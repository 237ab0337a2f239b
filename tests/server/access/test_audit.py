"""The audit log: who has controlled the server, and who has tried to."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.access import audit
from crossrun_server.access.audit import LONGEST, MOST, MOST_REFUSED
from crossrun_server.access.callers import ANYBODY
from tests.support.access import FOREIGN, bearer, call, entry, write
from tests.support.requests import gather, outcome
from tests.support.running import Command, Server, serving

LOAD = "/inference.GRPCInferenceService/RepositoryModelLoad"
EXPLICIT = ("--model-control-mode", "explicit", "--load-model", "gather")


@pytest.fixture(params=["1", "2"], ids=["alone", "workers"])
def written(
    request: pytest.FixtureRequest, front: str, three: Path, tmp_path: Path
) -> Iterator[Server]:
    """A server with tokens, whose audit log is a file."""
    tokens = write(tmp_path / "tokens", entry("ops", "control"), entry("user", "infer"))
    options = ["--front", front, "--workers", request.param, "--auth-tokens", str(tokens)]
    options += ["--audit-log", str(tmp_path / "audit"), *EXPLICIT]
    with serving(three, tmp_path / "log", *options) as running:
        yield running


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def load(name: str, config: str = "") -> pb.RepositoryModelLoadRequest:
    message = pb.RepositoryModelLoadRequest(model_name=name)
    if config:
        message.parameters["config"].string_param = config
    return message


def test_each_call_that_controls_the_server_is_written_down(
    written: Server, tmp_path: Path
) -> None:
    """Who made it, what it asked for and how it ended: done, failed, not allowed, or a stranger."""
    ops = bearer("ops")
    evil = "simple\n{}\x1b[2J"
    with grpc.insecure_channel(written.address) as channel:
        call(channel, LOAD, load("simple", '{"max_batch_size": 4}'), ops)
        call(channel, LOAD, load(evil), ops)
        call(channel, LOAD, load("simple"), bearer("user"))
        call(channel, LOAD, load("simple"), bearer(FOREIGN))
        call(channel, LOAD, load("simple"))
        call(channel, LOAD, b"\xff", ops)
        request = pb.LogSettingsRequest()
        request.settings["log_info"].bool_param = False
        Stub(channel).LogSettings(request, metadata=ops)
        Stub(channel).ModelInfer(gather(1), metadata=bearer("user"))
    found = entries(tmp_path / "audit")
    assert [(one["who"], one["call"], one["status"]) for one in found] == [
        ("token 'ops'", "RepositoryModelLoad", "OK"),
        ("token 'ops'", "RepositoryModelLoad", "INTERNAL"),
        ("token 'user'", "RepositoryModelLoad", "PERMISSION_DENIED"),
        ("unknown", "RepositoryModelLoad", "UNAUTHENTICATED"),
        ("unknown", "RepositoryModelLoad", "UNAUTHENTICATED"),
        ("token 'ops'", "RepositoryModelLoad", "INVALID_ARGUMENT"),
        ("token 'ops'", "LogSettings", "OK"),
    ]
    assert found[0]["request"] == {
        "model_name": "simple", "parameters": {"config": '{"max_batch_size": 4}'}
    }  # fmt: skip
    assert found[1]["request"] == {"model_name": evil}
    assert "there is no folder" in found[1]["details"]
    assert found[2]["request"] == {}  # what is not allowed is not read
    assert found[6]["request"] == {"settings": {"log_info": False}}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{15}\+00:00", one["time"]) for one in found)
    assert FOREIGN not in (tmp_path / "audit").read_text()
    assert "audit:" not in written.log.read_text()


def test_without_a_file_it_is_in_the_log(front: str, three: Path, tmp_path: Path) -> None:
    """In one line each, escaped, and whoever turns the log off cannot hide it."""
    options = ("--front", front, *EXPLICIT, "--no-log-info")
    with (
        serving(three, tmp_path / "log", *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        call(channel, LOAD, load("simple"))
        call(channel, LOAD, load("a\nE0101"))
        assert "can be reached" not in server.log.read_text()  # a server of this machine alone
        lines = [one for one in server.log.read_text().splitlines() if "audit: " in one]
    first, second = lines
    assert "anybody at " in first
    assert first.endswith(': RepositoryModelLoad model_name="simple": OK')
    assert 'model_name="a\\nE0101": INTERNAL (failed to load' in second


def test_the_address_is_told(three: Path, tmp_path: Path) -> None:
    """As gRPC writes it."""
    with (
        serving(three, tmp_path / "log", "--front", "python", *EXPLICIT) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        call(channel, LOAD, load("simple"))
        assert re.search(r"audit: anybody at ipv4:127\.0\.0\.1:\d+: ", server.log.read_text())


def test_strangers_do_not_fill_the_disk(three: Path, tmp_path: Path) -> None:
    """Of many calls that are refused some are left out, and the next line says how many."""
    tokens = write(tmp_path / "tokens", entry("ops", "control"))
    options = ("--auth-tokens", str(tokens), "--audit-log", str(tmp_path / "audit"), *EXPLICIT)
    many = 4 * MOST_REFUSED
    with (
        serving(three, tmp_path / "log", *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stranger: Any = channel.unary_unary(LOAD)
        calls = [stranger.future(b"") for _ in range(many)]
        assert {outcome(one)[0] for one in calls} == {StatusCode.UNAUTHENTICATED}
        call(channel, LOAD, load("simple"), bearer("ops"))
    found = entries(tmp_path / "audit")
    assert found[-1]["status"] == "OK"
    left_out = sum(one.get("left_out", 0) for one in found)
    assert left_out > 0
    assert left_out + len(found) - 1 == many


def test_a_large_request_is_a_short_line() -> None:
    """Texts are cut, of bytes only the number is told, and of many entries some."""
    message = load("m" * 10_000)
    message.parameters["file:1/model.onnx"].bytes_param = bytes(10_000)
    told = audit.describe(ANYBODY, "", LOAD, message, ("OK", "")).request
    assert told["model_name"] == "m" * LONGEST + "…"
    assert told["parameters"] == {"file:1/model.onnx": "10000 bytes"}
    for number in range(10_000):
        message.parameters[str(number)].bool_param = True
    told = audit.describe(ANYBODY, "", LOAD, message, ("OK", "")).request
    assert len(told["parameters"]) == MOST


def test_a_file_that_cannot_be_written_is_told(three: Path, run: Command) -> None:
    """The server does not start without its audit log."""
    ended = run("crossrun-serve", three, "--audit-log", "/nowhere/audit")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("crossrun-serve: cannot write the audit log: ")
