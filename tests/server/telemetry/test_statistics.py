"""ModelStatistics over a real connection: every number is one that Triton would give."""

import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.requests import code_of, gather, simple, slow
from tests.support.running import Server, serving
from tests.support.telemetry import statistics

FULL_BATCH = "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 60000000 }"


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose models are each asked by one test alone."""
    root = tmp_path_factory.mktemp("counting")
    fp32 = models.ELEMENT_TYPES["FP32"]
    models.write(root / "m", "simple", models.sum_and_difference(), "max_batch_size: 8")
    models.write(root / "m", "patient", models.identity(fp32, ["batch", 1]), FULL_BATCH)
    models.write(root / "m", "whole", models.identity(fp32, ["rows", 1]), "max_batch_size: 0")
    models.write(root / "m", "gather", models.gather(), "max_batch_size: 8")
    models.write(root / "m", "slow", models.slow(), models.SLOW_CONFIG)
    models.write(root / "m", "counted", models.identity(fp32, ["batch", 1]), version=1)
    models.write(
        root / "m",
        "counted",
        models.identity(fp32, ["batch", 2]),
        models.VERSIONS_CONFIG,
        version=3,
    )
    with serving(root / "m", root / "log") as running:
        yield running


@pytest.fixture
def stub(counting: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(counting.address) as channel:
        yield Stub(channel)


def identity(model: str, *rows: float) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[len(rows), 1])
    message.raw_input_contents.append(np.array(rows, np.float32).tobytes())
    return message


def test_requests_rows_and_runs_are_counted_apart(stub: Stub) -> None:
    """A request of three rows is one request, three inferences and one run of batch size 3."""
    before = time.time_ns() // 1_000_000
    for rows in (1, 3, 3):
        stub.ModelInfer(simple(*range(rows)))
    found = statistics(stub, "simple")
    assert (found.inference_count, found.execution_count) == (7, 3)
    assert before <= found.last_inference <= time.time_ns() // 1_000_000
    stats = found.inference_stats
    for part in (stats.success, stats.queue, stats.compute_input, stats.compute_infer):
        assert part.count == 3
    assert stats.compute_output.count == 3
    assert [(b.batch_size, b.compute_infer.count) for b in found.batch_stats] == [(1, 1), (3, 2)]
    assert (stats.fail.count, stats.cache_hit.count, stats.cache_miss.count) == (0, 0, 0)
    assert not found.response_stats


def test_the_parts_of_a_request_take_no_longer_than_the_whole(stub: Stub) -> None:
    """Queue, input, infer and output times add up to less than the requests' own."""
    for _ in range(5):
        stub.ModelInfer(identity("whole", 1.0, 2.0))
    found = statistics(stub, "whole")
    stats = found.inference_stats
    parts = (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert 0 < sum(part.ns for part in parts) < stats.success.ns
    assert stats.compute_infer.ns == found.batch_stats[0].compute_infer.ns > 0


def test_without_a_batch_dimension_a_request_is_one_inference(stub: Stub) -> None:
    """Where max_batch_size is 0 the first dimension does not count."""
    was = statistics(stub, "whole").inference_count
    stub.ModelInfer(identity("whole", 1.0, 2.0, 3.0))
    found = statistics(stub, "whole")
    assert found.inference_count == was + 1
    assert [batch.batch_size for batch in found.batch_stats] == [1]


def test_a_shared_run_counts_once_and_each_of_its_requests_took_all_of_it(stub: Stub) -> None:
    """Four requests in one batch: one execution, and its time four times among the requests'."""
    calls = [stub.ModelInfer.future(identity("patient", float(i))) for i in range(4)]
    assert [np.frombuffer(c.result().raw_output_contents[0], np.float32)[0] for c in calls] == [
        0.0, 1.0, 2.0, 3.0,
    ]  # fmt: skip
    found = statistics(stub, "patient")
    assert (found.inference_count, found.execution_count) == (4, 1)
    (batch,) = found.batch_stats
    assert (batch.batch_size, batch.compute_infer.count) == (4, 1)
    assert found.inference_stats.compute_infer.count == 4
    assert found.inference_stats.queue.ns > 0
    for part in ("compute_input", "compute_infer", "compute_output"):
        of_requests = getattr(found.inference_stats, part)
        assert of_requests.ns == 4 * getattr(batch, part).ns > 0


def test_a_failure_counts_as_nothing_but_a_failure(stub: Stub) -> None:
    """What the model or the check of the request refuses is in `fail`, and nowhere else."""
    incomplete = pb.ModelInferRequest(model_name="gather")
    for message in (gather(99), incomplete):
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(message)
    found = statistics(stub, "gather")
    assert found.inference_stats.fail.count == 2
    assert found.inference_stats.fail.ns > 0
    assert (found.inference_count, found.execution_count) == (0, 0)
    stats = found.inference_stats
    assert (stats.success.count, stats.queue.count, stats.compute_infer.count) == (0, 0, 0)
    assert not found.batch_stats
    stub.ModelInfer(gather(3))
    assert statistics(stub, "gather").inference_stats.success.count == 1


def test_a_caller_who_leaves_is_a_failure(stub: Stub) -> None:
    """A request that was given up is counted, as it never got its answer."""
    while statistics(stub, "slow").inference_stats.fail.count == 0:
        assert code_of(stub.ModelInfer.future(slow(), timeout=0.2)) == StatusCode.DEADLINE_EXCEEDED
    assert statistics(stub, "slow").inference_stats.success.count == 0


def test_statistics_are_of_one_version_one_model_or_all(stub: Stub) -> None:
    """No version means every version, and no name every model."""
    asked = {
        ("counted", "3"): [("counted", "3")],
        ("counted", ""): [("counted", "1"), ("counted", "3")],
        ("", "3"): [("counted", "3")],
    }
    for (name, version), expected in asked.items():
        found = stub.ModelStatistics(pb.ModelStatisticsRequest(name=name, version=version))
        assert [(m.name, m.version) for m in found.model_stats] == expected
    everything = stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
    assert {m.name for m in everything} == {
        "simple", "patient", "whole", "gather", "slow", "counted",
    }  # fmt: skip
    untouched = statistics(stub, "counted", "1")
    assert (untouched.last_inference, untouched.inference_count) == (0, 0)
    message = identity("counted", 1.0)
    message.model_version = "1"
    stub.ModelInfer(message)
    assert statistics(stub, "counted", "1").inference_count == 1
    assert statistics(stub, "counted", "3").inference_count == 0


@pytest.mark.parametrize(("name", "version"), [("nobody", ""), ("simple", "9")])
def test_statistics_of_an_unknown_model_are_not_found(stub: Stub, name: str, version: str) -> None:
    """An unknown name or version is an error, not an empty answer."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelStatistics(pb.ModelStatisticsRequest(name=name, version=version))
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() == StatusCode.NOT_FOUND
    assert (caught.value.details() or "").startswith("Request for unknown model")


def test_statistics_are_announced(stub: Stub) -> None:
    """The extension stands in the server's metadata."""
    assert "statistics" in stub.ServerMetadata(pb.ServerMetadataRequest()).extensions
