"""A model whose runs keep failing takes no requests until they succeed again."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import NotSupported
from crossrun_server.models.upkeep import failing
from crossrun_server.models.upkeep.failing import IN_A_ROW, Failing
from crossrun_server.scheduling.batching import Execution
from tests.support import models
from tests.support.control import NOT_SERVING, SERVING, index, multiply, product, ready, watch
from tests.support.requests import gather, outcome
from tests.support.running import ROOT, Server, serving


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file; while it is there, no run of a server that is started from now on succeeds."""
    site = tmp_path / "site"
    site.mkdir()
    source = ROOT / "tests" / "support" / "failing_runs.py"
    (site / "sitecustomize.py").write_bytes(source.read_bytes())
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("FAILING", str(tmp_path / "stopped"))
    return tmp_path / "stopped"


@pytest.fixture
def served_on_card(front: str, card: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of one model that runs there."""
    assert not card.exists()
    models.write(tmp_path / "m", "m", models.scale(2))
    with serving(tmp_path / "m", tmp_path / "log", "--front", front) as running:
        yield running


def until(true: Callable[[], bool]) -> None:
    """Wait; the test's own limit ends it."""
    while not true():
        time.sleep(0.02)


def test_a_model_turns_not_ready_and_comes_back(served_on_card: Server, card: Path) -> None:
    """Index, ModelReady, health and log say so with the reason, and say when it is over."""
    with grpc.insecure_channel(served_on_card.address) as channel:
        stub, health = Stub(channel), watch(channel, "m")
        assert next(health).status == SERVING
        card.touch()
        for _ in range(IN_A_ROW):
            assert outcome(multiply(stub, "m"))[0] == StatusCode.INTERNAL
        assert next(health).status == NOT_SERVING
        reason = "its runs fail: the card has stopped"
        assert not ready(stub, "m")
        assert index(stub, "m") == {"1": ("UNAVAILABLE", reason)}
        assert index(stub, "m", ready=True) == {}
        told = f"Request for unknown model: 'm' version 1 is not at ready state: {reason}"
        assert outcome(multiply(stub, "m")) == (StatusCode.UNAVAILABLE, told)
        card.unlink()
        assert next(health).status == SERVING
        assert index(stub, "m") == {"1": ("READY", "")}
        assert product(multiply(stub, "m")) == 6
    log = served_on_card.log.read_text()
    assert f"m version 1 takes no requests: {reason}" in log
    assert "m version 1 takes requests again" in log
    assert log.count("Traceback") == 1  # of failures that are all the same


def test_a_model_stays_ready_whatever_callers_send(server: Server, channel: grpc.Channel) -> None:
    """Requests that no run succeeds for are their callers' mistakes."""
    stub = Stub(channel)
    for _ in range(5 * IN_A_ROW):
        assert outcome(stub.ModelInfer.future(gather(99)))[0] == StatusCode.INTERNAL
    stub.ModelInfer(gather(7))
    assert ready(stub, "gather")
    assert "takes no requests" not in server.log.read_text()


GOOD = Execution(rows=1, requests=1, input_ns=0, infer_ns=0, output_ns=0)
BAD = GOOD._replace(error=RuntimeError("wrong"))


class Asked:
    """A probe that fails as long as it is told to, and counts."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.count = threading.Semaphore(0)
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        self.count.release()
        if self.fails:
            raise ValueError("no answer")


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes follow each other at once."""
    monkeypatch.setattr(failing, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(failing, "LONGEST_PAUSE", 0.02)


@pytest.mark.usefixtures("quickly")
def test_it_is_probed_until_it_answers() -> None:
    """Each change is told once, with the first reason."""
    probe, changes = Asked(fails=True), list[str]()
    watched = Failing(probe)
    watched.tell(lambda: changes.append(watched.reason))
    for _ in range(IN_A_ROW):
        watched.executed(BAD)
    for _ in range(3):
        probe.count.acquire()
    probe.fails = False
    until(lambda: changes == ["its runs fail: no answer", ""])
    watched.close()


def test_a_success_in_between_starts_the_count_again() -> None:
    """Only failures in a row raise a doubt."""
    probe = Asked(fails=True)
    watched = Failing(probe)
    for execution in [*[BAD] * (IN_A_ROW - 1), GOOD] * 3:
        watched.executed(execution)
    assert probe.asked == 0
    watched.executed(BAD)
    assert probe.asked == 0


def test_a_mistake_with_a_name_never_counts() -> None:
    """An error that tells the caller what was wrong says nothing about the model."""
    probe = Asked(fails=True)
    watched = Failing(probe)
    for _ in range(10 * IN_A_ROW):
        watched.executed(GOOD._replace(error=NotSupported("a string is not UTF-8")))
    assert probe.asked == 0


def test_wrong_requests_cause_few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends nothing else has the model probed once in each pause, not each time."""
    monkeypatch.setattr(failing, "FIRST_PAUSE", 3600.0)
    probe = Asked(fails=False)
    watched = Failing(probe)
    for _ in range(10):
        for _ in range(IN_A_ROW):
            watched.executed(BAD)
        probe.count.acquire(timeout=0.05)
    assert probe.asked == 1
    assert watched.reason == ""
    watched.close()


@pytest.mark.usefixtures("quickly")
def test_a_model_that_is_closed_is_not_probed() -> None:
    """Its sessions are released, though its runs have failed."""
    probe = Asked(fails=True)
    watched = Failing(probe)
    watched.close()
    for _ in range(IN_A_ROW):
        watched.executed(BAD)
    assert probe.asked == 0


def test_nothing_is_said_of_a_model_without_a_known_answer() -> None:
    """If it refuses zeros, nobody knows whether it or its callers are wrong."""
    watched = Failing(None)
    for _ in range(IN_A_ROW):
        watched.executed(BAD)
    assert watched.reason == ""
