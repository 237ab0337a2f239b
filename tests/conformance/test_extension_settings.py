"""The trace and logging extensions: settings are told, set, and set back."""

from collections.abc import Iterator

import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.target import NOBODY, Target

trace = pytest.mark.extension("trace")
logging = pytest.mark.extension("logging")
Settings = dict[str, list[str]]
Logs = dict[str, bool | int | str]
FLAGS = ["log_info", "log_warning", "log_error"]
BAD = (StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND)
MODEL = "oip_simple"


def traced(target: Target, model: str = "", **settings: list[str]) -> Settings:
    """Set trace settings, or none; gives all there are."""
    answer = target.call("TraceSetting", trace_request(model, **settings))
    return {name: list(setting.value) for name, setting in answer.settings.items()}


def trace_request(model: str = "", **settings: list[str]) -> pb.TraceSettingRequest:
    message = pb.TraceSettingRequest(model_name=model)
    for name, values in settings.items():
        message.settings[name].value[:] = values
        message.settings[name].SetInParent()
    return message


def logged(target: Target, **settings: bool | int | str) -> Logs:
    """Set log settings, or none; gives all there are."""
    answer = target.call("LogSettings", log_request(**settings))
    return {
        name: getattr(setting, setting.WhichOneof("parameter_choice"))
        for name, setting in answer.settings.items()
    }


def log_request(**settings: bool | int | str) -> pb.LogSettingsRequest:
    message = pb.LogSettingsRequest()
    for name, value in settings.items():
        if isinstance(value, bool):
            message.settings[name].bool_param = value
        elif isinstance(value, int):
            message.settings[name].uint32_param = value
        else:
            message.settings[name].string_param = value
    return message


@pytest.fixture
def rate(target: Target) -> Iterator[str]:
    """A trace rate that is not set; afterwards the rates are as they were."""
    before = traced(target)["trace_rate"]
    yield "7" if before != ["7"] else "8"
    traced(target, MODEL, trace_rate=[])
    traced(target, trace_rate=before)


@pytest.fixture
def logs(target: Target) -> Iterator[Logs]:
    """The log settings; afterwards they are as they were."""
    before = logged(target)
    yield before
    logged(target, **{name: value for name, value in before.items() if name != "log_file"})


@trace
def test_the_trace_settings(target: Target) -> None:
    """Without anything to set, the settings are told."""
    assert set(traced(target)) >= {"trace_level", "trace_rate", "trace_count", "log_frequency"}


@trace
def test_a_trace_setting_is_set(target: Target, rate: str) -> None:
    """What is set is told at once and later, and the others stay."""
    before = traced(target)
    expected = before | {"trace_rate": [rate]}
    assert traced(target, trace_rate=[rate]) == expected
    assert traced(target) == expected


@trace
def test_a_model_follows_the_global_setting(target: Target, rate: str) -> None:
    """A model without a setting of its own has the global one."""
    target.need(MODEL)
    traced(target, trace_rate=[rate])
    assert traced(target, MODEL)["trace_rate"] == [rate]


@trace
def test_a_model_has_settings_of_its_own(target: Target, rate: str) -> None:
    """A model's setting leaves the global one alone, and is cleared by one without a value."""
    target.need(MODEL)
    before = traced(target)["trace_rate"]
    assert traced(target, MODEL, trace_rate=[rate])["trace_rate"] == [rate]
    assert traced(target)["trace_rate"] == before
    assert traced(target, MODEL, trace_rate=[])["trace_rate"] == before


@trace
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("trace_rate", ["often"]),
        ("trace_rate", ["1", "2"]),
        ("trace_rate", [str(2**70)]),
        ("trace_count", ["many"]),
        ("trace_level", ["EVERYTHING"]),
        ("log_frequency", ["daily"]),
    ],
)
def test_a_trace_setting_that_cannot_be(target: Target, name: str, values: list[str]) -> None:
    """A value that cannot be is refused, and nothing changes."""
    before = traced(target)
    code, _ = target.refusal("TraceSetting", trace_request("", **{name: values}))
    assert code == StatusCode.INVALID_ARGUMENT
    assert traced(target) == before


@trace
def test_the_trace_settings_of_an_unknown_model(target: Target) -> None:
    """A model that is not there has no settings, and is named."""
    code, text = target.refusal("TraceSetting", trace_request(NOBODY))
    assert code in BAD
    assert NOBODY in text


@logging
def test_the_log_settings(target: Target) -> None:
    """Without anything to set, the settings are told, each in its own kind."""
    settings = logged(target)
    assert {name: type(settings[name]) for name in FLAGS} == dict.fromkeys(FLAGS, bool)
    assert type(settings["log_verbose_level"]) is int
    assert settings["log_format"] in ("default", "ISO8601")


@logging
@pytest.mark.parametrize("name", FLAGS)
def test_a_log_flag_is_set(target: Target, logs: Logs, name: str) -> None:
    """A kind of line is switched off and on again, and the other settings stay."""
    for value in (False, True):
        expected = logs | {name: value}
        assert logged(target, **{name: value}) == expected
        assert logged(target) == expected


@logging
@pytest.mark.parametrize(
    ("name", "value"),
    [("log_verbose_level", 1), ("log_format", "ISO8601"), ("log_format", "default")],
)
def test_a_log_setting_is_set(target: Target, logs: Logs, name: str, value: int | str) -> None:
    """What is set is told at once and later, and the others stay."""
    expected = logs | {name: value}
    assert logged(target, **{name: value}) == expected
    assert logged(target) == expected


@logging
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("log_info", "yes"),
        ("log_error", 1),
        ("log_verbose_level", True),
        ("log_format", "XML"),
        ("log_colour", True),
    ],
)
def test_a_log_setting_that_cannot_be(
    target: Target, logs: Logs, name: str, value: bool | int | str
) -> None:
    """A value of another kind, or a setting that there is not, is refused and changes nothing."""
    code, text = target.refusal("LogSettings", log_request(**{name: value}))
    assert code == StatusCode.INVALID_ARGUMENT
    assert name in text or str(value) in text
    assert logged(target) == logs
