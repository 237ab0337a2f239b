"""What clients see is the same through both front ends."""

import json
import queue
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.fronts import choice
from tests.conformance import models as conformance_models
from tests.conformance.conftest import EVERYTHING
from tests.support import models
from tests.support.pictures import plain
from tests.support.requests import AGES, code_of, outcome, refusal, simple, slow, until_running
from tests.support.running import BIN, ROOT, Server, run_command, serving
from tests.support.telemetry import until_pending
from tests.support.vision import classify

INFER = "/inference.GRPCInferenceService/ModelInfer"
MEGABYTE = 1 << 20


@pytest.fixture
def channel(served: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as opened:
        yield opened


def test_everybody_is_told_which_one_serves(front: str, served: Server) -> None:
    """The log, ServerMetadata and the metrics say it."""
    version = choice.chosen(choice.FrontName(front)).version
    assert f"front end: {front} ({version})" in served.log.read_text()
    with grpc.insecure_channel(served.address) as channel:
        told = Stub(channel).ServerMetadata(pb.ServerMetadataRequest())
    assert f"front({front})" in told.extensions
    with urllib.request.urlopen(served.metrics, timeout=30) as response:
        text = response.read().decode()
    assert re.search(rf'crossrun_front_info{{name="{front}",version=".+"}} 1', text)


def test_an_answer_says_where_its_time_went(channel: grpc.Channel) -> None:
    """As the trailing metadata `server-timing`."""
    answer, call = Stub(channel).ModelInfer.with_call(simple(1, 2))
    assert answer.outputs[0].shape == [2, 16]
    trailing = dict(call.trailing_metadata())
    assert re.fullmatch(r"queue;dur=[\d.]+, compute;dur=[\d.]+", trailing["server-timing"])


def test_a_picture_is_named(channel: grpc.Channel) -> None:
    """Classify is not the road of ModelInfer, and is answered all the same."""
    answer = classify(channel, plain(255, 0, 0), plain(0, 0, 255))
    assert [one.classes[0].label for one in answer.results] == ["red", "blue"]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_unpacked(
    channel: grpc.Channel, compression: grpc.Compression
) -> None:
    """Small ones and large ones, which are unpacked on another thread."""
    for rows in (1, 8):
        answer = Stub(channel).ModelInfer(simple(*[1] * rows), compression=compression)
        assert answer.outputs[0].shape == [rows, 16]
    large = identity(MEGABYTE)
    assert Stub(channel).ModelInfer(large, compression=compression).raw_output_contents == list(
        large.raw_input_contents
    )


def identity(size: int) -> pb.ModelInferRequest:
    """A request whose answer is itself."""
    message = pb.ModelInferRequest(model_name="identity_uint8")
    message.inputs.add(name="x", datatype="UINT8", shape=[1, size])
    message.raw_input_contents.append(bytes(range(256)) * (size // 256))
    return message


def test_many_megabytes_go_through(served: Server) -> None:
    """Neither the limit of 4 MB that gRPC has by itself nor a window of flow control holds them."""
    large = identity(20 * MEGABYTE)
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(served.address, unlimited) as channel:
        answer = Stub(channel).ModelInfer(large)
    assert answer.raw_output_contents == list(large.raw_input_contents)


def test_bytes_that_are_no_message_are_the_callers_mistake(channel: grpc.Channel) -> None:
    """In both kinds of unary methods."""
    for method in ("ModelInfer", "ModelMetadata"):
        call: Callable[..., object] = channel.unary_unary(INFER.replace("ModelInfer", method))
        code, details = refusal(call, b"\xff" * 100)
        assert code == StatusCode.INVALID_ARGUMENT
        assert details == f"the request is no message of {INFER.replace('ModelInfer', method)}"


def test_an_empty_request_names_no_model(channel: grpc.Channel) -> None:
    """And none here detects; a message without a byte is one all the same."""
    call: Callable[..., object] = channel.unary_unary("/crossrun.v1.Vision/Detect")
    assert refusal(call, b"")[0] == StatusCode.NOT_FOUND


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    call: Callable[..., object] = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
    assert refusal(call, b"")[0] == StatusCode.UNIMPLEMENTED


def test_errors_keep_their_words(channel: grpc.Channel) -> None:
    """Also those that are no ASCII, and those that are long."""
    name = "größer\n" * 1000
    code, details = refusal(Stub(channel).ModelInfer, pb.ModelInferRequest(model_name=name))
    assert code == StatusCode.NOT_FOUND
    assert details.startswith("Request for unknown model")
    assert "größer" in details


def test_who_leaves_or_is_late_costs_no_run(front: str, tmp_path: Path) -> None:
    """A request that waits is dropped once its caller is gone, and what it was is counted."""
    models.write(tmp_path / "m", "slow", models.slow(), models.ONE_AT_A_TIME)
    with (
        serving(tmp_path / "m", tmp_path / "log", "--front", front) as served,
        grpc.insecure_channel(served.address) as channel,
    ):
        stub = Stub(channel)
        running = until_running(stub, slow(20 * AGES))
        until_pending(served, 0)  # those by which that is seen
        leaving, late = stub.ModelInfer.future(slow(1)), stub.ModelInfer.future(slow(1), timeout=2)
        until_pending(served, 2)
        leaving.cancel()
        assert code_of(late) == StatusCode.DEADLINE_EXCEEDED
        until_pending(served, 0)
        running.cancel()
        failed = failures(served)
        # A client that is late says so itself, too: what the server hears of first is a race.
        assert failed["CANCELED"] + failed["REJECTED"] >= 3
        assert failed["CANCELED"] >= 1
        assert failed["BACKEND"] == failed["OTHER"] == 0


@pytest.mark.parametrize("how", ["leaves", "late"])
def test_a_run_that_nobody_waits_for_ends(channel: grpc.Channel, served: Server, how: str) -> None:
    """The next request has the place at once, though the run would have taken days."""
    stub, days = Stub(channel), slow(10**12)
    if how == "leaves":
        running = until_running(stub, days)
        until_pending(served, 0)  # those by which that is seen
        running.cancel()
    else:
        assert code_of(stub.ModelInfer.future(days, timeout=1)) == StatusCode.DEADLINE_EXCEEDED
    assert code_of(stub.ModelInfer.future(slow(1), timeout=60)) == StatusCode.OK


def scrape(served: Server, name: str) -> dict[str, float]:
    with urllib.request.urlopen(served.metrics, timeout=30) as response:
        text = response.read().decode()
    lines = re.findall(rf"^{name}(\{{.*\}}) (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in lines}


def failures(served: Server) -> dict[str, float]:
    """How many requests have failed, by reason."""
    counted = scrape(served, "nv_inference_request_failure")
    return {re.findall(r'reason="(\w+)"', labels)[0]: n for labels, n in counted.items()}


def test_a_watch_hears_of_the_end(front: str, tmp_path: Path) -> None:
    """Health goes to NOT_SERVING, the request at work is answered, and the process ends well."""
    models.write(tmp_path / "m", "slow", models.slow(), models.SLOW_CONFIG)
    with (
        serving(tmp_path / "m", tmp_path / "log", "--front", front) as served,
        grpc.insecure_channel(served.address) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="slow"))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        accepted = until_running(Stub(channel))
        served.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert outcome(Stub(channel).ModelInfer.future(slow(1)))[0] == StatusCode.UNAVAILABLE
        assert len(accepted.result().raw_output_contents) == 1
        assert served.process.wait(60) == 0


def test_a_stream_that_nobody_reads_stops_being_answered(channel: grpc.Channel) -> None:
    """The answers wait in the client's transport, and the others come once it reads."""
    requests: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
    call: Any = Stub(channel).ModelStreamInfer(iter(requests.get, None))
    for _ in range(40):
        requests.put(identity(MEGABYTE))
    assert Stub(channel).ModelInfer(simple(1)).outputs  # others are answered meanwhile
    requests.put(None)
    assert len(list(call)) == 40


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_port_in_use_is_told(
    front: str, served: Server, tiny_models: Path, workers: tuple[str, ...]
) -> None:
    """It is no share of somebody else's requests."""
    port = served.address.rpartition(":")[2]
    words = [
        str(tiny_models),
        "--port",
        port,
        "--no-metrics",
        "--no-allow-http",
        "--front",
        front,
        *workers,
    ]
    done = run_command([str(BIN / "crossrun-serve"), *words])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"crossrun-serve: cannot listen on 127.0.0.1:{port}: is the port in use?"
    )


def test_the_other_front_end_conforms(tmp_path: Path) -> None:
    """The conformance suite runs on the default one as it is, and here on grpc.aio's."""
    repository = conformance_models.write_all(tmp_path / "m")
    with serving(repository, tmp_path / "log", "--front", "python", *EVERYTHING) as served:
        child = subprocess.run(
            [sys.executable, "-m", "tests.support.conformance_child"],
            input=json.dumps(["tests/conformance", "--target", served.address]),
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
    found = json.loads(child.stdout)
    assert found.get("failed", []) == [], found["summary"]
    assert len(found["passed"]) > 450
