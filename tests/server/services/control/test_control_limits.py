"""What clients may ask of loads: numbers, models and changes have bounds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc import StatusCode

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.model_config import bounds
from tests.support import models
from tests.support.control import connected, load, product, ready, two_versions, unload
from tests.support.control import multiply as ask
from tests.support.requests import outcome
from tests.support.running import Server, serving

HUGE = 2_000_000_000
TOO_LARGE: dict[str, tuple[dict[str, object], str]] = {
    "instances": ({"instance_group": [{"count": 2000}]}, "number of threads of all instances"),
    "groups": ({"instance_group": [{"count": 100}] * 20}, "number of threads of all instances"),
    "cards": ({"instance_group": [{"gpus": [0] * 2000}]}, "number of threads of all instances"),
    "threads": (
        {"parameters": {"intra_op_thread_count": {"string_value": "9999"}}},
        "number of threads of all instances",
    ),
    "threads between": (
        {"parameters": {"inter_op_thread_count": {"string_value": "9999"}}},
        "number of threads of all instances",
    ),
    "places": (
        {"parameters": {"plan": {"string_value": "9999x9999"}}},
        "number of threads of all instances",
    ),
    "runs of a warm-up": ({"model_warmup": [{"count": HUGE}]}, "sum of model_warmup.count"),
    "samples": ({"model_warmup": [{}] * 1001}, "sum of model_warmup.count is 1001"),
    "a sample": (
        {"model_warmup": [{"inputs": {"x": {"dims": [HUGE, HUGE]}}}]},
        "size of model_warmup input 'x'",
    ),
    "rows of a sample": (
        {"model_warmup": [{"batch_size": HUGE, "inputs": {"x": {"dims": [1]}}}]},
        "size of model_warmup input 'x'",
    ),
    "a batch": ({"max_batch_size": HUGE}, "max_batch_size"),
    "a delay": (
        {"dynamic_batching": {"max_queue_delay_microseconds": 2**63}},
        "dynamic_batching.max_queue_delay_microseconds",
    ),
    "a queue": (
        {"dynamic_batching": {"default_queue_policy": {"max_queue_size": HUGE}}},
        "dynamic_batching.default_queue_policy.max_queue_size",
    ),
    "a timeout": (
        {"dynamic_batching": {"default_queue_policy": {"default_timeout_microseconds": 2**63}}},
        "dynamic_batching.default_queue_policy.default_timeout_microseconds",
    ),
    "levels": ({"dynamic_batching": {"priority_levels": 2**63}}, "dynamic_batching.priority"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_numbers_of_a_configuration_have_bounds(stub: Stub, root: Path, case: str) -> None:
    """The load is refused at once, and names the number and its bound."""
    config, expected = TOO_LARGE[case]
    name = f"large_{case.replace(' ', '_')}"
    two_versions(root, name)
    code, details = outcome(load(stub, name, config))
    assert code == StatusCode.INVALID_ARGUMENT
    assert expected in details
    assert details.endswith("at most")
    assert not ready(stub, name)


def test_the_owner_may_use_the_machine(tmp_path: Path) -> None:
    """config.pbtxt has no such bounds."""
    count = bounds.MOST_THREADS
    config = (
        f"instance_group {{ count: {count + 1} }}\n"
        'parameters { key: "intra_op_thread_count" value { string_value: "1" } }'
    )
    models.write(tmp_path / "m", "wide", models.scale(1), config)
    with serving(tmp_path / "m", tmp_path / "log") as server, connected(server) as channel:
        assert ready(Stub(channel), "wide")


def test_a_configuration_is_not_nested_without_end(stub: Stub, root: Path) -> None:
    """It is no valid configuration, as with Triton, and no error of the server."""
    two_versions(root, "nested")
    code, details = outcome(load(stub, "nested", '{"input":' + "[" * 100_000))
    assert code == StatusCode.INTERNAL
    assert details.startswith(
        "failed to load 'nested', failed to poll from model repository: config"
    )


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Server]:
    """A server that keeps one model."""
    for name in ("first", "second"):
        two_versions(tmp_path / "m", name)
    options = ("--model-control-mode", "explicit", "--max-models", "1")
    with serving(tmp_path / "m", tmp_path / "log", *options) as running:
        yield running


def test_only_so_many_models_are_loaded(full: Server) -> None:
    """One more is refused until another is unloaded; one that is loaded can be replaced."""
    with connected(full) as channel:
        stub = Stub(channel)
        load(stub, "first").result()
        load(stub, "first").result()
        assert outcome(load(stub, "second")) == (
            StatusCode.RESOURCE_EXHAUSTED,
            "failed to load 'second': 1 models are loaded; unload one, or start the server with a "
            "larger --max-models",
        )
        unload(stub, "first").result()
        load(stub, "second").result()
        assert product(ask(stub, "second")) == 6


def test_only_so_many_changes_are_under_way(stub: Stub, root: Path) -> None:
    """Of many loads at once some are refused, and the others are done."""
    two_versions(root, "changing")
    codes = [outcome(call)[0] for call in [load(stub, "changing") for _ in range(300)]]
    assert set(codes) == {StatusCode.OK, StatusCode.RESOURCE_EXHAUSTED}
    assert product(ask(stub, "changing")) == 6


def test_a_name_forges_no_line_of_the_log(server: Server, stub: Stub) -> None:
    """A line feed in a model's name is written as such."""
    name = "evil\nE0101 00:00:00.000000 1 forged.py:1] broken\x1b[2J"
    model = models.scale(1).SerializeToString()
    load(stub, name, {}, **{"1/model.onnx": model}).result()
    unload(stub, name).result()
    log = server.log.read_text()
    assert "unloaded evil\\nE0101 00:00:00.000000 1 forged.py:1] broken\\x1b[2J\n" in log
    assert not any(line.startswith("E0101") for line in log.splitlines())
