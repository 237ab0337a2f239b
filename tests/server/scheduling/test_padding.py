"""Batches of a few sizes: what a model runs, what its callers get, what a configuration may say."""

from collections.abc import Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.runtime.session import Session
from crossrun_server.scheduling import padding
from crossrun_server.scheduling.batching import Tensors
from tests.support import models
from tests.support.running import ON_CPU, serving

CONFIG = "max_batch_size: %d\nparameters { key: 'batch_sizes' value { string_value: '%s' } }\n"


def test_a_batch_is_filled_up_to_the_next_size() -> None:
    """The last row is repeated, whatever the dtype, and the caller gets the rows that were sent."""
    ran: list[Tensors] = []

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        ran.append(inputs)
        return dict.fromkeys(outputs, inputs["x"])

    padded = padding.around(run, (2, 4))
    three = np.array([["a"], ["b"], ["c"]], np.object_)
    assert padded({"x": three}, ["y"])["y"].tolist() == three.tolist()
    assert ran[0]["x"].tolist() == [["a"], ["b"], ["c"], ["c"]]
    assert padded({"x": three[:1]}, ["y"])["y"].tolist() == [["a"]]
    assert len(ran[1]["x"]) == 2


def test_rows_that_fit_are_not_copied() -> None:
    """A batch of one of the sizes reaches the model as it is."""
    x = np.ones((2, 3))
    assert padding.around(lambda inputs, _: inputs, (2, 4))({"x": x}, ["x"])["x"] is x


@pytest.mark.parametrize("shape", [(), (1, 3)])
def test_an_output_that_is_no_batch_is_an_error(shape: tuple[int, ...]) -> None:
    """Rows cannot be cut from it, and the error names it."""
    run = padding.around(lambda *_: {"y": np.zeros(shape)}, (4,))
    with pytest.raises(ValueError, match=r"output 'y' has shape .* for a batch of 4"):
        run({"x": np.zeros((3, 1))}, ["y"])


@pytest.mark.parametrize(
    ("given", "most", "on_card", "expected"),
    [
        (None, 8, False, ()),
        (None, 8, True, (1, 2, 4, 8)),
        (None, 12, True, (1, 2, 4, 8, 12)),
        (None, 1, True, (1,)),
        (None, 0, True, ()),
        ("none", 8, True, ()),
        ("8, 1,4,4", 8, False, (1, 4, 8)),
    ],
)
def test_sizes_are_given_or_powers_of_two_on_a_card(
    given: str | None, most: int, on_card: bool, expected: tuple[int, ...]
) -> None:
    """Elsewhere nothing is padded that did not ask for it."""
    assert padding.sizes(given, most, on_card) == expected


@pytest.mark.parametrize(
    ("given", "most"), [("1,2,4", 8), ("1,16", 8), ("1,two", 8), ("0,8", 8), ("", 8), ("1", 0)]
)
def test_sizes_that_cannot_be_are_named(given: str, most: int, tmp_path: Path) -> None:
    """The model does not load, and the error says what was given and what was expected."""
    models.write(tmp_path, "m", models.weigh(), CONFIG % (most, given))
    told = f"'batch_sizes' is '{given}' and max_batch_size {most}, expected none, or whole numbers"
    with pytest.raises(LoadError, match=told):
        loader.load(ModelSource(tmp_path / "m"), ON_CPU)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each run of a session had."""
    rows: list[int] = []
    run = Session.run

    def recorded(self: Session, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        rows.append(len(next(iter(inputs.values()))))
        return run(self, inputs, outputs)

    monkeypatch.setattr(Session, "run", recorded)
    return rows


def test_each_size_is_run_before_the_model_is_ready(tmp_path: Path, ran: list[int]) -> None:
    """No request is the first of its shape; the range of sizes is seen at once."""
    config = models.ONE_AT_A_TIME + CONFIG % (4, "1,2,4")
    models.write(tmp_path, "fixed", models.identity(models.ELEMENT_TYPES["FP32"], ["n", 2]), config)
    loader.load(ModelSource(tmp_path / "fixed"), ON_CPU)
    assert ran == [4, 1, 2]


def test_where_another_size_is_free_there_is_no_shape_to_run(
    tmp_path: Path, ran: list[int]
) -> None:
    """Which shapes its callers send nobody knows."""
    config = models.ONE_AT_A_TIME + CONFIG % (4, "2,4")
    model = models.identity(models.ELEMENT_TYPES["FP32"], ["n", "m"])
    models.write(tmp_path, "free", model, config)
    loader.load(ModelSource(tmp_path / "free"), ON_CPU)
    assert ran == [2]


def test_callers_do_not_see_the_padding(tmp_path: Path, log_file: Path) -> None:
    """The model adds up its whole batch and so shows what was run; all else is of real rows."""
    config = models.ONE_AT_A_TIME + models.VOUCHED + CONFIG % (8, "4,8")
    models.write(tmp_path / "m", "batch", models.batch_sum(), config)
    with (
        serving(tmp_path / "m", log_file, "--provider", "cpu") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = Stub(channel)
        x = np.array([[1], [2], [3]], np.float32)
        message = pb.ModelInferRequest(model_name="batch", raw_input_contents=[x.tobytes()])
        message.inputs.add(name="x", datatype="FP32", shape=x.shape)
        reply = stub.ModelInfer(message)
        found = stub.ModelStatistics(pb.ModelStatisticsRequest(name="batch")).model_stats[0]
        assert "batch version 1 runs batches of 4, 8" in log_file.read_text()
    assert list(reply.outputs[0].shape) == [3, 1]
    assert np.frombuffer(reply.raw_output_contents[0], np.float32).tolist() == [9.0] * 3
    assert (found.inference_count, found.execution_count) == (3, 1)
    assert [batch.batch_size for batch in found.batch_stats] == [3]
