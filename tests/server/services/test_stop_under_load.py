"""A stop while requests keep coming: each is answered, or told to go elsewhere."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.open_loop import open_loop
from tests.support.requests import AGES, code_of, outcome, slow, until_running
from tests.support.running import Server, serving

TURNS = AGES // 500  # of a run: a few milliseconds
CONNECTIONS = 8
RETRYING = """{ "loadBalancingConfig": [{ "round_robin": {} }],
  "methodConfig": [{ "name": [{}], "retryPolicy": {
    "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"] } }] }"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("m")
    models.write(root, "slow", models.slow(), models.ONE_AT_A_TIME)
    return root


@contextmanager
def connected(address: str, count: int = CONNECTIONS) -> Iterator[list[Any]]:
    """What calls ModelInfer over so many connections."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(address, options)) for _ in range(count)
        ]
        yield [Stub(channel).ModelInfer for channel in channels]


def sent(calls: list[Any], count: int) -> None:
    """Wait until so many more have been sent."""
    wanted = len(calls) + count
    while len(calls) < wanted:
        pass


@pytest.mark.parametrize("workers", ["1", "2"])
def test_who_is_not_answered_is_told_that_the_server_stops(
    front: str, workers: str, repository: Path, tmp_path: Path
) -> None:
    """No code but OK and UNAVAILABLE, however many come at the end, on however many connections."""
    # A busy machine may run less than is asked for: here nobody waits too long.
    options = ("--front", front, "--workers", workers, "--max-queue-wait-ms", "60000")
    with (
        serving(repository, tmp_path / "log", *options) as server,
        connected(server.address) as infer,
    ):
        with open_loop(lambda n: infer[n % CONNECTIONS].future(slow(TURNS)), 0.002) as calls:
            sent(calls, 100)
            assert server.stop() == 0
            sent(calls, 10)
        codes = Counter(code_of(call) for call in calls)
    assert codes.keys() == {StatusCode.OK, StatusCode.UNAVAILABLE}


def test_a_client_of_two_servers_notices_nothing(
    front: str, repository: Path, tmp_path: Path
) -> None:
    """gRPC's own retry policy finds the other one, so that no request fails.

    The native front end accepts no list of addresses as a host, so the client names one.
    """
    options = [("grpc.service_config", RETRYING), ("grpc.default_authority", "crossrun")]
    with (
        serving(repository, tmp_path / "one", "--front", front) as one,
        serving(repository, tmp_path / "other", "--front", front) as other,
        grpc.insecure_channel(f"ipv4:{one.address},{other.address}", options) as channel,
    ):
        infer = Stub(channel).ModelInfer
        with open_loop(lambda _: infer.future(slow(TURNS), wait_for_ready=True)) as calls:
            sent(calls, 30)
            assert one.stop() == 0
            sent(calls, 30)
        assert Counter(map(outcome, calls)) == {(StatusCode.OK, ""): len(calls)}


def test_there_are_no_new_connections_while_the_server_drains(
    front: str, repository: Path, tmp_path: Path
) -> None:
    """Those that there are see NOT_SERVING, and the request at work is answered."""
    if front == "python":
        pytest.skip("gRPC closes its port only with its connections")
    with (
        serving(repository, tmp_path / "log", "--front", front) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        accepted = until_running(Stub(channel), slow(5 * AGES))
        server.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        until_refused(server)
        assert not accepted.done()
        assert len(accepted.result().raw_output_contents) == 1


def until_refused(server: Server) -> None:
    host, _, port = server.address.rpartition(":")
    with suppress(ConnectionRefusedError):
        while True:
            with suppress(ConnectionResetError):  # it came in the very moment
                socket.create_connection((host, int(port)), timeout=60).close()
