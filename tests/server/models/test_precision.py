"""`precision` in a configuration: which of the models beside each other serves under one name."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.control import connected, load, multiply, product
from tests.support.requests import outcome
from tests.support.running import serving

EXPLICIT = ("--model-control-mode", "explicit", "--load-model", "m")


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    """A server of `m`, which multiplies by 1; `m-int8` beside it by 8."""
    root = tmp_path_factory.mktemp("models")
    models.write(root, "m", models.scale(1))
    models.write(root, "m-int8", models.scale(8))
    with (
        serving(root, tmp_path_factory.mktemp("log") / "log", *EXPLICIT) as running,
        connected(running) as channel,
    ):
        yield Stub(channel)


def chosen(precision: str) -> dict[str, object]:
    return {"parameters": {"precision": {"string_value": precision}}}


def test_another_precision_serves_under_the_same_name(stub: Stub) -> None:
    """The files are those of NAME-int8, and fp32 is the model's own."""
    for precision, expected in (("int8", 24.0), ("fp32", 3.0)):
        load(stub, "m", chosen(precision)).result()
        assert product(multiply(stub, "m")) == expected


@pytest.mark.parametrize(
    ("precision", "told"),
    [
        ("fp16", "parameters 'precision' is 'fp16', but there is no m-fp16"),
        ("../m", "parameters 'precision' is '../m', expected one of fp32, int8, fp16"),
    ],
)
def test_a_precision_that_is_not_there_is_named(stub: Stub, precision: str, told: str) -> None:
    """The load fails, and what served goes on."""
    code, details = outcome(load(stub, "m", chosen(precision)))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details == f"failed to load 'm': {told}"
    assert product(multiply(stub, "m")) == 3.0


def test_a_precision_may_be_the_owners(tmp_path: Path) -> None:
    """config.pbtxt chooses it as a client does."""
    models.write(
        tmp_path / "models", "m", models.scale(1),
        'parameters { key: "precision" value { string_value: "int8" } }',
    )  # fmt: skip
    models.write(tmp_path / "models", "m-int8", models.scale(8))
    with serving(tmp_path / "models", tmp_path / "log") as server, connected(server) as channel:
        assert product(multiply(Stub(channel), "m")) == 24.0
