"""The statistics extension: ModelStatistics grows by what was sent."""

import time

import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.messages import request, simple, tensor
from tests.conformance.target import LIMIT, NOBODY, Target

pytestmark = pytest.mark.extension("statistics")
DURATIONS = ("success", "queue", "compute_input", "compute_infer", "compute_output")


def statistics(target: Target, model: str, version: str = "") -> pb.ModelStatistics:
    message = pb.ModelStatisticsRequest(name=model, version=version)
    (found,) = target.call("ModelStatistics", message).model_stats
    assert isinstance(found, pb.ModelStatistics)
    return found


def after(target: Target, model: str, success: int) -> pb.ModelStatistics:
    """Wait until as many requests are counted: a server may count after it has answered."""
    deadline = time.monotonic() + LIMIT
    while (found := statistics(target, model)).inference_stats.success.count < success:
        assert time.monotonic() < deadline, f"{found.inference_stats.success.count} are counted"
    return found


def executions(found: pb.ModelStatistics) -> dict[int, int]:
    return {entry.batch_size: entry.compute_infer.count for entry in found.batch_stats}


def test_counts_grow_by_what_was_sent(target: Target) -> None:
    """Each request is a success, each of its rows an inference, and each run an execution."""
    target.need("oip_simple")
    before = statistics(target, "oip_simple")
    for rows in (1, 3, 8):
        target.infer(simple(*range(rows)))
    then = after(target, "oip_simple", before.inference_stats.success.count + 3)
    assert then.inference_stats.success.count == before.inference_stats.success.count + 3
    assert then.inference_count == before.inference_count + 12
    assert then.execution_count == before.execution_count + 3


def test_each_batch_size_is_counted(target: Target) -> None:
    """The batch statistics tell how often a batch of each size was run."""
    target.need("oip_identity_fp32")
    message = request("oip_identity_fp32", [tensor("x", "FP32", [0.0] * 5, (5, 1))])
    target.infer(message)
    start = after(target, "oip_identity_fp32", 1)
    target.infer(message)
    then = after(target, "oip_identity_fp32", start.inference_stats.success.count + 1)
    assert executions(then)[5] == executions(start)[5] + 1
    assert sum(executions(then).values()) == then.execution_count


def test_durations_grow(target: Target) -> None:
    """The durations are counted with each request, and the whole is no less than its parts."""
    target.need("oip_simple")
    before = statistics(target, "oip_simple").inference_stats
    target.infer(simple(5))
    then = after(target, "oip_simple", before.success.count + 1).inference_stats
    for name in DURATIONS:
        assert getattr(then, name).count == getattr(before, name).count + 1, name
    assert then.success.ns > before.success.ns
    assert then.success.ns >= then.compute_infer.ns


def test_the_last_inference_is_dated(target: Target) -> None:
    """`last_inference` is in milliseconds since 1970 and moves on."""
    target.infer(simple(5))
    before = after(target, "oip_simple", 1)
    success = before.inference_stats.success.count
    target.infer(simple(5))
    then = after(target, "oip_simple", success + 1)
    assert 1.5e12 < before.last_inference <= then.last_inference < 1e14


def test_a_refused_request_is_no_success(target: Target) -> None:
    """What was refused is counted neither as success nor as inference."""
    target.need("oip_simple")
    before = statistics(target, "oip_simple")
    bad = simple(5)
    bad.raw_input_contents[0] = b""
    target.refusal("ModelInfer", bad)
    target.infer(simple(5))
    then = after(target, "oip_simple", before.inference_stats.success.count + 1)
    assert then.inference_stats.success.count == before.inference_stats.success.count + 1
    assert then.inference_count == before.inference_count + 1


def test_versions_are_counted_apart(target: Target) -> None:
    """A request to one version adds nothing to the other, and both are listed."""
    target.need("oip_versions")

    def counts() -> dict[str, int]:
        message = pb.ModelStatisticsRequest(name="oip_versions")
        found = target.call("ModelStatistics", message).model_stats
        assert {entry.name for entry in found} == {"oip_versions"}
        return {entry.version: entry.inference_count for entry in found}

    before, deadline = counts(), time.monotonic() + LIMIT
    assert set(before) == {"1", "3"}
    target.infer(request("oip_versions", [tensor("x", "FP32", [1.0])], version="1"))
    while (then := counts()) == before:
        assert time.monotonic() < deadline, "the request is not counted"
    assert then == before | {"1": before["1"] + 1}


def test_one_version_can_be_asked_for(target: Target) -> None:
    """With a version, that version's statistics come alone."""
    target.need("oip_versions")
    assert statistics(target, "oip_versions", "3").version == "3"


def test_all_models_are_listed_without_a_name(target: Target) -> None:
    """Without a name, every model is there."""
    target.need("oip_simple")
    target.need("oip_identity_fp32")
    found = target.call("ModelStatistics", pb.ModelStatisticsRequest()).model_stats
    assert {"oip_simple", "oip_identity_fp32"} <= {entry.name for entry in found}


@pytest.mark.parametrize(("model", "version"), [(NOBODY, ""), ("oip_simple", "77")])
def test_an_unknown_model_has_no_statistics(target: Target, model: str, version: str) -> None:
    """A model or version that is not there is refused by name; Triton says INVALID_ARGUMENT."""
    target.need("oip_simple")
    message = pb.ModelStatisticsRequest(name=model, version=version)
    code, text = target.refusal("ModelStatistics", message)
    assert code in (StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT)
    assert model in text
