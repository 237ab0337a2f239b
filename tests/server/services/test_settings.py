"""LogSettings over a real connection, and what they change in the log."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.requests import gather, infer, refusal
from tests.support.running import Command, Server, serving
from tests.support.telemetry import logging


@pytest.fixture
def own_server(two_models: Path, log_file: Path) -> Iterator[Server]:
    """A server that is not traced, of this test alone."""
    with serving(two_models, log_file) as running:
        yield running


DEFAULTS = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


def test_the_log_settings_are_told(own_server: Server) -> None:
    """All of Triton's settings are there, each with its type."""
    assert logging(own_server) == DEFAULTS
    assert logging(own_server, log_verbose_level=1) == DEFAULTS | {"log_verbose_level": 1}


def test_verbose_logs_each_request_in_one_line(own_server: Server) -> None:
    """From level 1 on each request is logged, answered or failed; at 0 none is."""
    infer(own_server, gather(1))
    was = own_server.log.read_text()
    logging(own_server, log_verbose_level=1)
    message = gather(2)
    message.id = "two\nlines"
    infer(own_server, message)
    refusal(infer, own_server, pb.ModelInferRequest(model_name="gather", id="three"))
    logging(own_server, log_verbose_level=0)
    infer(own_server, gather(4))
    told = own_server.log.read_text().removeprefix(was).splitlines()
    answered, failed, refused = (line for line in told if "audit: " not in line)
    assert re.search(r"gather version 1, request 'two\\nlines': batch of 1 from the run", answered)
    assert re.search(r"gather version 1, request 'three': InvalidRequest after", failed)
    assert "request_id=three" in refused


def test_what_is_turned_off_is_not_logged(own_server: Server) -> None:
    """Errors and events are turned off and on independently."""
    logging(own_server, log_error=False)
    refusal(infer, own_server, gather(99))
    assert "ModelInfer failed" not in own_server.log.read_text()
    logging(own_server, log_error=True, log_info=False)
    refusal(infer, own_server, gather(99))
    assert own_server.log.read_text().count("ModelInfer failed") == 1
    assert own_server.stop() == 0
    assert "stopped" not in own_server.log.read_text()


def test_warnings_can_be_turned_off_at_the_start(tmp_path: Path, log_file: Path) -> None:
    """With warnings off, a config field without effect is ignored in silence."""
    models.write(tmp_path / "m", "gather", models.gather(), "response_cache { enable: true }")
    with serving(tmp_path / "m", log_file, "--no-log-warning") as running:
        assert "has no effect" not in running.log.read_text()
        assert logging(running)["log_warning"] is False


def test_the_format_changes_the_lines_that_follow(own_server: Server) -> None:
    """Triton's two formats: its own, and ISO 8601, both in UTC."""
    default = r"I\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ app\.py:\d+\] metrics on .*"
    iso = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ I \d+ app\.py:\d+\] stopped"
    assert any(re.fullmatch(default, line) for line in own_server.log.read_text().splitlines())
    assert logging(own_server, log_format="ISO8601")["log_format"] == "ISO8601"
    assert own_server.stop() == 0
    assert re.fullmatch(iso, own_server.log.read_text().splitlines()[-1])


def test_json_is_a_line_for_each_event(own_server: Server) -> None:
    """It can be turned on while the server runs, and no name of a caller's begins a line."""
    was = own_server.log.read_text()
    assert logging(own_server, log_format="json", log_verbose_level=1)["log_format"] == "json"
    message = gather(2)
    message.id = "two\nlines"
    infer(own_server, message)
    assert own_server.stop() == 0
    lines = own_server.log.read_text().removeprefix(was).splitlines()
    setting, *events = map(json.loads, lines)
    assert setting["message"].startswith("audit: ")
    assert [event["message"] for event in events[1:]] == ["draining", "stopped"]
    assert "request 'two\\nlines'" in events[0]["message"]
    assert {(event["level"], event["where"].partition(":")[0]) for event in events} == {
        ("debug", "logs.py"),
        ("info", "app.py"),
    }


def test_the_log_can_go_to_a_file(two_models: Path, log_file: Path, tmp_path: Path) -> None:
    """The log file is chosen at the start; clients can read it and cannot change it."""
    other = tmp_path / "server.log"
    options = ("--log-file", str(other), "--log-format", "ISO8601", "--log-verbose", "1")
    with serving(two_models, log_file, *options) as running:
        expected = {"log_file": str(other), "log_format": "ISO8601", "log_verbose_level": 1}
        assert logging(running) == DEFAULTS | expected
        assert refusal(logging, running, log_file="elsewhere") == (
            StatusCode.UNIMPLEMENTED,
            "log file location can not be updated through network protocol",
        )
        assert "loaded gather" in other.read_text()
        assert log_file.read_text() == ""


def test_a_log_setting_that_makes_no_sense_changes_nothing(own_server: Server) -> None:
    """The answer names the setting and what was expected, and the other settings stay too."""
    for settings, expected in (
        ({"log_colour": True}, "there is no setting 'log_colour'; expected log_file, log_info, "),
        ({"log_info": "yes"}, "log_info is 'yes', expected a boolean"),
        ({"log_warning": 1}, "log_warning is 1, expected a boolean"),
        ({"log_verbose_level": True}, "log_verbose_level is True, expected a whole number"),
        ({"log_format": 1}, "log_format is 1, expected a string"),
        ({"log_format": "RFC"}, "log_format is 'RFC', expected default, ISO8601, json"),
    ):
        code, details = refusal(logging, own_server, **{"log_error": False} | settings)
        assert code == StatusCode.INVALID_ARGUMENT
        assert expected in details
    with grpc.insecure_channel(own_server.address) as channel:
        request = pb.LogSettingsRequest()
        request.settings["log_info"].SetInParent()
        code, details = refusal(Stub(channel).LogSettings, request)
    assert (code, details) == (StatusCode.INVALID_ARGUMENT, "log_info is None, expected a boolean")
    assert logging(own_server) == DEFAULTS


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--log-format", "RFC", "log_format is 'RFC', expected default, ISO8601, json"),
        ("--log-file", "/nowhere/log", "cannot write the log file: "),
    ],
)
def test_a_log_option_that_cannot_be_followed_is_one_line(
    option: str, value: str, expected: str, two_models: Path, run: Command
) -> None:
    """A log option that cannot be followed keeps the server from starting."""
    ended = run("crossrun-serve", two_models, "--port", 0, option, value)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"crossrun-serve: {expected}")
