"""TraceSetting over a real connection, and the traces that it makes."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support.requests import gather, infer, refusal, simple
from tests.support.running import Command, Server, serving
from tests.support.telemetry import trace, traces

TRACED = [
    "REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END",
    "COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END",
]  # fmt: skip
EVERY = ("--trace-config", "level=TIMESTAMPS", "--trace-config", "rate=1")


@pytest.fixture
def untraced(two_models: Path, log_file: Path) -> Iterator[Server]:
    """A server that is not traced, of this test alone."""
    with serving(two_models, log_file) as running:
        yield running


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


@pytest.fixture
def traced(two_models: Path, log_file: Path, trace_file: Path) -> Iterator[Server]:
    """A server of this test alone that may trace, and does not yet."""
    with serving(two_models, log_file, "--trace-config", f"triton,file={trace_file}") as running:
        yield running


def extensions(server: Server) -> list[str]:
    with grpc.insecure_channel(server.address) as channel:
        return list(Stub(channel).ServerMetadata(pb.ServerMetadataRequest()).extensions)


def test_a_trace_tells_when_a_request_waited_and_ran(traced: Server, trace_file: Path) -> None:
    """Each moment of a request stands in the file, in order, with its id and its model."""
    trace(traced, trace_level=["TIMESTAMPS"], trace_rate=["1"])
    message = simple(1, 2)
    message.id = 'the "first"'
    infer(traced, message, gather(3))
    assert traced.stop() == 0
    first, second = traces(trace_file).values()
    assert (first["model_name"], first["model_version"]) == ("simple", 1)
    assert (first["request_id"], second["model_name"]) == ('the "first"', "gather")
    assert "request_id" not in second
    for one in (first, second):
        assert [moment["name"] for moment in one["timestamps"]] == TRACED
        times = [moment["ns"] for moment in one["timestamps"]]
        assert times == sorted(times)
        assert times[3] < times[4]


def test_a_failed_request_is_traced_to_where_it_came(traced: Server, trace_file: Path) -> None:
    """What never ran has no moments of running."""
    trace(traced, trace_level=["TIMESTAMPS"], trace_rate=["1"])
    refusal(infer, traced, gather(99))
    refusal(infer, traced, pb.ModelInferRequest(model_name="gather"))
    assert traced.stop() == 0
    ran, never_queued = traces(trace_file).values()
    assert [m["name"] for m in ran["timestamps"]] == ["REQUEST_START", "QUEUE_START", "REQUEST_END"]
    assert [m["name"] for m in never_queued["timestamps"]] == ["REQUEST_START", "REQUEST_END"]


def test_one_request_in_so_many_is_traced(traced: Server, trace_file: Path) -> None:
    """With a rate of 3 the third, the sixth and so on."""
    trace(traced, trace_level=["TIMESTAMPS"], trace_rate=["3"])
    for number in range(7):
        message = gather(number)
        message.id = str(number)
        infer(traced, message)
    assert traced.stop() == 0
    assert [one["request_id"] for one in traces(trace_file).values()] == ["2", "5"]


def test_a_count_ends_tracing_and_completes_a_file(traced: Server, trace_file: Path) -> None:
    """Once the count is used up the traces can be read, while the server goes on."""
    trace(traced, trace_level=["TIMESTAMPS"], trace_rate=["1"], trace_count=["2"])
    infer(traced, gather(1))
    assert trace(traced)["trace_count"] == ["1"]
    infer(traced, gather(2), gather(3))
    assert trace(traced)["trace_count"] == ["0"]
    assert len(traces(Path(f"{trace_file}.0"))) == 2
    assert traced.stop() == 0
    assert not trace_file.exists()


def test_a_log_frequency_writes_numbered_files(traced: Server, trace_file: Path) -> None:
    """Every so many traces fill a file of their own; the rest is written at the end."""
    trace(traced, trace_level=["TIMESTAMPS"], trace_rate=["1"], log_frequency=["2"])
    infer(traced, *(gather(i) for i in range(5)))
    assert [len(traces(Path(f"{trace_file}.{i}"))) for i in (0, 1)] == [2, 2]
    assert traced.stop() == 0
    assert len(traces(Path(f"{trace_file}.2"))) == 1


def test_many_traces_end_in_one_file(two_models: Path, log_file: Path, trace_file: Path) -> None:
    """More than are held at once are written in between, and the file is whole at the end."""
    file = ("--trace-config", f"triton,file={trace_file}")
    with serving(two_models, log_file, *file, *EVERY) as running:
        infer(running, *(gather(i % 10) for i in range(300)))
        assert trace_file.exists()
        assert running.stop() == 0
    assert list(traces(trace_file)) == list(range(1, 301))


def test_a_models_settings_stand_before_those_of_all(traced: Server, trace_file: Path) -> None:
    """What a model sets holds for it; what it does not, and what is cleared, is that of all."""
    assert trace(traced, trace_rate=["7"])["trace_rate"] == ["7"]
    own = trace(traced, "simple", trace_level=["TIMESTAMPS"], trace_rate=["1"])
    assert (own["trace_level"], own["trace_rate"]) == (["TIMESTAMPS"], ["1"])
    assert trace(traced, "gather")["trace_rate"] == ["7"]
    infer(traced, simple(1), gather(1))
    assert trace(traced, trace_rate=["9"])["trace_rate"] == ["9"]
    assert trace(traced, "simple")["trace_rate"] == ["1"]
    infer(traced, simple(1))
    assert trace(traced, "simple", trace_rate=[])["trace_rate"] == ["9"]
    assert trace(traced, "simple")["trace_level"] == ["TIMESTAMPS"]
    assert trace(traced, trace_rate=[])["trace_rate"] == ["1000"]
    assert trace(traced, "simple", trace_level=[])["trace_level"] == ["OFF"]
    assert traced.stop() == 0
    assert [one["model_name"] for one in traces(trace_file).values()] == ["simple"] * 2


def test_the_start_options_are_the_settings(
    two_models: Path, log_file: Path, trace_file: Path
) -> None:
    """Every form of --trace-config that Triton has for its own traces shows in the settings."""
    forms = (
        f"triton,file={trace_file}", "triton,log-frequency=5", "level=TIMESTAMPS",
        "rate=100", "count=9", "mode=triton",
    )  # fmt: skip
    options = [part for form in forms for part in ("--trace-config", form)]
    with serving(two_models, log_file, *options) as running:
        assert trace(running) == {
            "trace_file": [str(trace_file)],
            "trace_level": ["TIMESTAMPS"],
            "trace_rate": ["100"],
            "trace_count": ["9"],
            "log_frequency": ["5"],
            "trace_mode": ["triton"],
        }
        assert "trace" in extensions(running)


def test_without_a_file_nothing_can_be_traced(untraced: Server) -> None:
    """The settings are told; turning them on names the option that is needed."""
    assert trace(untraced)["trace_level"] == ["OFF"]
    assert trace(untraced)["trace_file"] == [""]
    code, details = refusal(trace, untraced, trace_level=["TIMESTAMPS"])
    assert code == StatusCode.INVALID_ARGUMENT
    assert "--trace-config triton,file=PATH" in details
    assert trace(untraced)["trace_level"] == ["OFF"]
    assert {"trace", "logging"} <= set(extensions(untraced))


def test_a_trace_setting_that_makes_no_sense_changes_nothing(traced: Server) -> None:
    """The answer names the setting and what was expected, and the other settings stay too."""
    was = trace(traced)
    for settings, expected in (
        ({"trace_speed": ["1"]}, "there is no setting 'trace_speed'; expected trace_level, "),
        ({"trace_rate": ["0"]}, "trace_rate is '0', expected a whole number of at least 1"),
        ({"trace_rate": ["fast"]}, "trace_rate is 'fast', expected a whole number of at least 1"),
        ({"trace_rate": ["1", "2"]}, "trace_rate is '1, 2', expected a whole number"),
        ({"trace_count": ["-2"]}, "trace_count is '-2', expected a whole number of at least -1"),
        ({"log_frequency": ["-1"]}, "log_frequency is '-1', expected a whole number of at least 0"),
        ({"trace_level": ["ALL"]}, "trace_level is ALL; expected OFF or TIMESTAMPS"),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, "trace_level is OFF, TIMESTAMPS; expected OFF or"),
    ):
        code, details = refusal(trace, traced, **{"trace_rate": ["5"]} | settings)
        assert code == StatusCode.INVALID_ARGUMENT
        assert expected in details
    for settings, expected in (
        ({"trace_file": ["elsewhere"]}, "trace_file cannot be changed while the server runs"),
        ({"trace_mode": ["opentelemetry"]}, "trace_mode cannot be changed while the server runs"),
        ({"trace_level": ["TENSORS"]}, "trace_level TENSORS is not supported"),
    ):
        code, details = refusal(trace, traced, **settings)
        assert code == StatusCode.UNIMPLEMENTED
        assert expected in details
    assert refusal(trace, traced, "nobody")[0] == StatusCode.NOT_FOUND
    assert trace(traced) == was


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("level=TIMESTAMPS", "tracing needs a file: start the server with --trace-config"),
        ("triton,file=/nowhere/trace.json", "cannot write the trace file /nowhere/trace.json"),
        ("opentelemetry,url=here", "--trace-config is 'opentelemetry,url=here', expected"),
        ("rate=0", "--trace-config rate=0: trace_rate is '0', expected a whole number"),
        ("level=TENSORS", "--trace-config level=TENSORS: trace_level TENSORS is not supported"),
        ("triton,file=", "--trace-config is 'triton,file=', expected triton,file=PATH"),
    ],
)
def test_a_trace_option_that_cannot_be_followed_is_one_line(
    option: str, expected: str, two_models: Path, run: Command
) -> None:
    """The server does not start and pass the option over."""
    ended = run("crossrun-serve", two_models, "--port", 0, "--trace-config", option)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"crossrun-serve: {expected}")


def test_a_trace_that_cannot_be_written_fails_no_request(traced: Server, trace_file: Path) -> None:
    """The traces are lost aloud; whoever asked is answered."""
    Path(f"{trace_file}.0").mkdir()
    trace(traced, trace_level=["TIMESTAMPS"], trace_rate=["1"], log_frequency=["1"])
    infer(traced, gather(1), gather(2))
    assert traced.log.read_text().count("traces are lost") == 1
    assert len(traces(Path(f"{trace_file}.1"))) == 1
