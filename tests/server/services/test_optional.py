"""Optional inputs: given or not, alone and in batches, remembered, and declared wrongly."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.runtime.session import Session
from crossrun_server.scheduling.batching import Tensors
from tests.support import models
from tests.support.optional import INPUTS, scaled
from tests.support.requests import refusal
from tests.support.running import ON_CPU, Server, serving

# Requests wait for others until one comes that does not fit.
TOGETHER = "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 500000 }"
KEPT = "max_batch_size: 8 response_cache { enable: true }"
SAMPLE = """
max_batch_size: 8
model_warmup [{
  inputs { key: "%s" value { data_type: TYPE_FP32 dims: [1] zero_data: true } }
}]
"""


def request(x: float, factor: float | None = None, model: str = "scaled") -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    for name, value in (("x", x), ("factor", factor)):
        if value is not None:
            message.inputs.add(name=name, datatype="FP32", shape=[1, 1])
            message.raw_input_contents.append(np.float32(value).tobytes())
    return message


def answer(reply: pb.ModelInferResponse) -> float:
    return float(np.frombuffer(reply.raw_output_contents[0], np.float32)[0])


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of `scaled`, once batching and once remembering, and of one that tells no input."""
    root = tmp_path_factory.mktemp("scaling")
    models.write(root, "scaled", scaled(), INPUTS + TOGETHER)
    models.write(root, "kept", scaled(), INPUTS + KEPT)
    models.write(root, "undeclared", scaled(), "max_batch_size: 8")
    log = tmp_path_factory.mktemp("log") / "log"
    with serving(root, log, "--cache-config", "local,size=1000000") as server:
        yield server


@pytest.fixture
def stub(scaling: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(scaling.address) as channel:
        yield Stub(channel)


def test_what_is_left_out_is_the_models_own(stub: Stub) -> None:
    """A request gives an optional input or not, alone or in a stream."""
    assert answer(stub.ModelInfer(request(3))) == 6
    assert answer(stub.ModelInfer(request(3, 5))) == 15
    streamed = stub.ModelStreamInfer(iter([request(3), request(3, 5), request(4)]))
    assert [answer(reply.infer_response) for reply in streamed] == [6, 15, 8]


def test_what_is_needed_is_still_needed(stub: Stub) -> None:
    """The other inputs stay required, and an optional one is checked where it is given."""
    message = request(3, 5)
    del message.inputs[0], message.raw_input_contents[0]
    told = refusal(lambda: stub.ModelInfer(message))
    assert told == (StatusCode.INVALID_ARGUMENT, "'scaled' needs the input x too")
    message = request(3, 5)
    message.inputs[1].shape[:] = [1, 1, 1]
    code, details = refusal(lambda: stub.ModelInfer(message))
    assert code == StatusCode.INVALID_ARGUMENT
    assert "input 'factor' has shape [1, 1, 1], expected [-1, 1]" in details


def test_only_requests_that_give_the_same_inputs_share_a_batch(stub: Stub) -> None:
    """Each gets its own factor, or the model's; those of a kind run together."""
    before = runs(stub)
    factors = [None, None, 3, 4, 5, None, None, 6]
    streamed = stub.ModelStreamInfer(iter([request(1, factor) for factor in factors]))
    assert [answer(reply.infer_response) for reply in streamed] == [2, 2, 3, 4, 5, 2, 2, 6]
    assert 2 <= runs(stub) - before <= 4  # those that wait pass others by, if they come in time


def runs(stub: Stub) -> int:
    (found,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="scaled")).model_stats
    count: int = found.execution_count
    return count


def test_an_answer_is_remembered_for_the_inputs_that_were_given(stub: Stub) -> None:
    """A request without the optional input is not answered as one with it."""
    for _ in range(2):
        assert answer(stub.ModelInfer(request(3, model="kept"))) == 6
        assert answer(stub.ModelInfer(request(3, 5, model="kept"))) == 15
    (found,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="kept")).model_stats
    assert (found.inference_stats.cache_hit.count, found.execution_count) == (2, 2)


def test_clients_are_told_which_inputs_are_optional(stub: Stub) -> None:
    """The configuration says so, metadata lists them all; what is not declared does not exist."""
    config = stub.ModelConfig(pb.ModelConfigRequest(name="scaled")).config
    assert [(i.name, i.optional) for i in config.input] == [("x", False), ("factor", True)]
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="scaled"))
    assert [i.name for i in metadata.inputs] == ["x", "factor"]
    undeclared = stub.ModelConfig(pb.ModelConfigRequest(name="undeclared")).config
    assert [i.name for i in undeclared.input] == ["x"]
    code, details = refusal(lambda: stub.ModelInfer(request(3, 5, model="undeclared")))
    assert (code, "has no input 'factor'" in details) == (StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize(
    ("model", "config", "told"),
    [
        (
            scaled(),
            INPUTS.replace("dims: [1] }", "dims: [1] optional: true }"),
            "'x' is declared optional, but .* no",
        ),
        (scaled(), INPUTS.replace("optional: true", ""), "'factor' is not declared opt"),
        (scaled(1), INPUTS, "first dimension of every input and output"),
    ],
)
def test_a_configuration_that_contradicts_the_model_is_refused(
    model: onnx.ModelProto, config: str, told: str, tmp_path: Path
) -> None:
    """What the model has no value for cannot be left out, and a batch needs a row of each input."""
    models.write(tmp_path, "m", model, config + "max_batch_size: 8")
    with pytest.raises(LoadError, match=told):
        loader.load(ModelSource(tmp_path / "m"), ON_CPU)


def test_the_warm_up_leaves_out_what_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros might be another way through the model than its own values are."""
    given: set[str] = set()
    run = Session.run

    def recorded(self: Session, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        given.update(inputs)
        return run(self, inputs, outputs)

    monkeypatch.setattr(Session, "run", recorded)
    models.write(tmp_path, "m", scaled(), INPUTS + "max_batch_size: 8")
    loader.load(ModelSource(tmp_path / "m"), ON_CPU)
    assert given == {"x"}


def test_a_sample_of_the_warm_up_may_leave_out_what_is_optional(tmp_path: Path) -> None:
    """It gives what it wants to give, and is refused without what is needed."""
    models.write(tmp_path, "some", scaled(), INPUTS + SAMPLE % "x")
    assert loader.load(ModelSource(tmp_path / "some"), ON_CPU).models
    models.write(tmp_path, "less", scaled(), INPUTS + SAMPLE % "factor")
    with pytest.raises(LoadError, match="it has factor, the model takes x, factor; see x"):
        loader.load(ModelSource(tmp_path / "less"), ON_CPU)
