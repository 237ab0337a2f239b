"""What is over a limit is refused or ends the connection, through both front ends.

Floods of frames are tried where frames are written: server/front/transport/tests.
"""

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.requests import AGES, code_of, outcome, refusal, simple, slow, until_running
from tests.support.running import BIN, Server, run_command, serving

MEGABYTE = 1 << 20
NARROW = [("grpc.http2.bdp_probe", 0)]  # a client takes no more than it reads, nearly
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + bytes(8)
ENHANCE_YOUR_CALM = 11


@pytest.fixture(scope="module")
def served(
    front: str, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    sizes = ("--max-request-size", str(8 * MEGABYTE), "--max-bytes-in-flight", str(64 * MEGABYTE))
    log = tmp_path_factory.mktemp(front) / "log"
    with serving(tiny_models, log, "--front", front, *sizes) as running:
        yield running


@contextmanager
def limited(front: str, repository: Path, *options: str) -> Iterator[Server]:
    with serving(repository, repository.parent / "log", "--front", front, *options) as running:
        yield running


def identity(size: int) -> pb.ModelInferRequest:
    """A request whose answer is itself."""
    message = pb.ModelInferRequest(model_name="identity_uint8")
    message.inputs.add(name="x", datatype="UINT8", shape=[1, size])
    message.raw_input_contents.append(bytes(size))
    return message


def memory(server: Server, what: str = "VmRSS") -> int:
    """Bytes that a server has, or has had at most (VmHWM)."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def test_a_control_call_may_have_a_megabyte(served: Server) -> None:
    """Inference may have more."""
    with grpc.insecure_channel(served.address) as channel:
        stub = Stub(channel)
        assert stub.ModelInfer(identity(2 * MEGABYTE)).outputs
        large = pb.ModelMetadataRequest(name="x" * MEGABYTE)
        code, details = refusal(stub.ModelMetadata, large)
    assert code == StatusCode.RESOURCE_EXHAUSTED
    assert f"limit of {MEGABYTE}" in details


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
def test_a_request_may_have_what_the_option_says(served: Server, method: str) -> None:
    """Packed or not."""
    with grpc.insecure_channel(served.address) as channel:
        infer = Stub(channel).ModelInfer
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            request = identity(8 * MEGABYTE)
            if method == "ModelInfer":
                code, _ = refusal(infer, request, compression=compression)
            else:
                stream: Any = Stub(channel).ModelStreamInfer
                call = stream(iter([request]), compression=compression)
                code, _ = refusal(lambda call=call: list(call))
            assert code == StatusCode.RESOURCE_EXHAUSTED


def test_what_inflates_is_stopped_at_the_limit(served: Server) -> None:
    """Before it has cost the memory that it asks for."""
    with grpc.insecure_channel(served.address) as channel:
        before = memory(served, "VmHWM")
        bomb = identity(96 * MEGABYTE)
        code, _ = refusal(Stub(channel).ModelInfer, bomb, compression=grpc.Compression.Gzip)
        assert code == StatusCode.RESOURCE_EXHAUSTED
        assert memory(served, "VmHWM") - before < 48 * MEGABYTE


def test_requests_in_flight_have_a_budget(front: str, tmp_path: Path) -> None:
    """One connection may have half of it, and others find the rest."""
    models.write(tmp_path / "m", "slow", models.slow(), models.SLOW_CONFIG)
    sizes = ("--max-request-size", str(MEGABYTE), "--max-bytes-in-flight", str(2 * MEGABYTE))
    with (
        limited(front, tmp_path / "m", *sizes) as server,
        grpc.insecure_channel(server.address) as channel,
        grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as other,
    ):
        large = slow(20 * AGES)
        large.id = "x" * 600_000
        running = until_running(Stub(channel), large)
        code, details = refusal(Stub(channel).ModelInfer, large)
        assert code == StatusCode.RESOURCE_EXHAUSTED
        assert "--max-bytes-in-flight" in details
        code, _ = refusal(Stub(other).ModelInfer, large, timeout=0.5)
        assert code == StatusCode.DEADLINE_EXCEEDED
        running.cancel()


def test_a_budget_that_holds_no_request_is_refused(tiny_models: Path) -> None:
    """The text says which options contradict each other."""
    command = str(BIN / "crossrun-serve")
    ended = run_command([command, str(tiny_models), "--max-bytes-in-flight", str(MEGABYTE)])
    assert ended.returncode == 1
    assert "--max-request-size" in ended.stderr


def test_connections_have_a_limit(front: str, tiny_models: Path, tmp_path: Path) -> None:
    """One more is closed at once, and is served once another has left."""
    (tmp_path / "m").symlink_to(tiny_models)
    with limited(front, tmp_path / "m", "--max-connections", "2") as server:
        with connect(server) as one, connect(server) as two, connect(server) as three:
            assert one.recv(9)
            assert two.recv(9)
            assert goaway(three) is None
        with grpc.insecure_channel(server.address) as channel:
            assert Stub(channel).ModelInfer(simple(1), wait_for_ready=True).outputs


def connect(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    one = socket.create_connection((host, int(port)), timeout=60)
    one.sendall(PREFACE)
    return one


def goaway(one: socket.socket) -> int | None:
    """Read until the server closes a connection; returns the last reason that it has given."""
    data = bytearray()
    try:
        while part := one.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    reason = None
    while data:
        size = int.from_bytes(data[:3])
        if data[3] == 7:
            reason = int.from_bytes(data[13:17])
        del data[: 9 + size]
    return reason


def test_pings_that_come_too_soon_end_the_connection(served: Server) -> None:
    """As gRPC's servers do it."""
    with connect(served) as one:
        one.sendall(4 * PING)
        assert goaway(one) == ENHANCE_YOUR_CALM


@pytest.mark.parametrize("option", ["--grpc-max-connection-idle", "--grpc-max-connection-age"])
def test_connections_end_in_time(
    front: str, tiny_models: Path, tmp_path: Path, option: str
) -> None:
    """A client that does not answer is closed all the same, and another finds a new connection."""
    (tmp_path / "m").symlink_to(tiny_models)
    patience = ("--grpc-max-connection-age-grace", "100", "--grpc-keepalive-timeout", "100")
    with (
        limited(front, tmp_path / "m", option, "100", *patience) as server,
        connect(server) as silent,
    ):
        assert goaway(silent) is not None
        with grpc.insecure_channel(server.address) as channel:
            for _ in range(100):
                assert Stub(channel).ModelInfer(simple(1)).outputs


def count(stream: Any) -> int:
    return sum(1 for _ in stream)


def test_streams_that_nobody_reads_cost_others_nothing(served: Server) -> None:
    """Neither their memory nor their answers."""
    before = memory(served)
    narrow = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    with (
        grpc.insecure_channel(served.address, narrow) as channel,
        grpc.insecure_channel(served.address) as other,
    ):
        requests = [identity(2 * MEGABYTE)] * 120
        streams: list[Any] = [Stub(channel).ModelStreamInfer(iter(requests)) for _ in range(2)]
        for _ in range(40):
            assert Stub(other).ModelInfer(simple(1)).outputs
        assert memory(served) - before < 600 * MEGABYTE
        with ThreadPoolExecutor() as pool:  # at once, since they share what a connection may have
            assert list(pool.map(count, streams)) == [120, 120]


def test_a_stop_has_a_deadline(front: str, tmp_path: Path) -> None:
    """Requests that take longer are cancelled, and the process ends well."""
    models.write(tmp_path / "m", "slow", models.slow(), models.SLOW_CONFIG)
    models.write(tmp_path / "m", "identity_uint8", models.identity(2, ["batch", "width"]))
    with (
        limited(front, tmp_path / "m", "--exit-timeout-secs", "1") as server,
        grpc.insecure_channel(server.address, NARROW) as channel,
    ):
        stream: Any = Stub(channel).ModelStreamInfer(iter([identity(3 * MEGABYTE)] * 10))
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert next(stream).infer_response.outputs
        time.sleep(0.5)  # until others are at work, which wait for their reader
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        late = outcome(Stub(channel).ModelInfer.future(identity(1)))
        assert late[0] == StatusCode.UNAVAILABLE
        assert server.process.wait(60) == 0
        assert "--exit-timeout-secs" in server.log.read_text()
        stream.cancel()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_without_end_does_not_hold_up_the_stop(
    front: str, workers: str, tmp_path: Path
) -> None:
    """Threads that compute cannot be cancelled; the process ends with them."""
    models.write(tmp_path / "m", "slow", models.slow(), models.ONE_AT_A_TIME)
    options = ("--exit-timeout-secs", "0", "--workers", workers)
    with (
        limited(front, tmp_path / "m", *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        running = until_running(Stub(channel), slow(1000 * AGES))
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert code_of(running) == StatusCode.UNAVAILABLE


def test_who_goes_on_asking_is_answered_or_told_that_the_server_stops(
    front: str, tiny_models: Path, tmp_path: Path
) -> None:
    """A client tries again elsewhere after UNAVAILABLE, and after nothing else."""
    (tmp_path / "m").symlink_to(tiny_models)
    with (
        limited(front, tmp_path / "m") as server,
        grpc.insecure_channel(server.address) as channel,
        ThreadPoolExecutor() as pool,
    ):
        infer = Stub(channel).ModelInfer
        codes = {code_of(infer.future(simple(1)))}
        server.process.terminate()
        ended = pool.submit(server.process.wait, 60)
        while not ended.done():
            codes |= {code_of(call) for call in [infer.future(simple(1)) for _ in range(20)]}
        assert codes <= {StatusCode.OK, StatusCode.UNAVAILABLE}
        assert StatusCode.OK in codes
