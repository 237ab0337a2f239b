"""Damaged messages to every RPC of a real server: none ends it or hangs, or is its mistake."""

from collections.abc import Iterator
from random import Random

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import calls, seeds
from tests.fuzz.target import target
from tests.support.memory import FOLDER
from tests.support.running import Server

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="this system has no /dev/shm")


@pytest.fixture(scope="module", params=["native", "python"])
def fuzzed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    if request.param == "native":
        pytest.importorskip("crossrun_front", reason="the native front end is not installed")
    with target(tmp_path_factory.mktemp("fuzz"), request.param) as running:
        yield running


@pytest.fixture(scope="module")
def channel(fuzzed: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(fuzzed.address) as opened:
        yield opened


@pytest.mark.parametrize("path", seeds.METHODS)
def test_whole_messages_are_answered(channel: grpc.Channel, path: str) -> None:
    """What is damaged is good before: otherwise little of the server would be reached."""
    for message in seeds.MESSAGES.get(path, []):
        call = calls.begin(channel, path, message.SerializeToString())
        code, details = calls.ending(path, call)
        assert not calls.is_wrong(path, code, details), (code, details)


@pytest.mark.parametrize("path", seeds.METHODS)
@given(random=st.randoms(use_true_random=False))
@settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_damaged_messages_are_the_callers_mistake(
    channel: grpc.Channel, path: str, random: Random
) -> None:
    """Or are answered; the longer run is `python -m tests.fuzz`."""
    message = calls.message(random, path)
    code, details = calls.ending(path, calls.begin(channel, path, message))
    assert not calls.is_wrong(path, code, details), (code, details)
    assert calls.lives(channel)
