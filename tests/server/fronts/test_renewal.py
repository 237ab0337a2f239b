"""Certificates that are renewed while clients come and go, through both front ends."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace as replaced
from pathlib import Path
from threading import Event

import grpc
import pytest
import trustme

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.fronts import certificates as reading
from crossrun_server.fronts.certificates import Files
from tests.support import certificates
from tests.support.certificates import Pair, channel, issued, replace
from tests.support.requests import simple
from tests.support.running import Server, serving

AUTHORITY = trustme.CA()
TOLD = "certificates not renewed, the ones before stay"


@pytest.fixture(params=[(), ("--workers", "2")], ids=["alone", "workers"])
def renewing(
    request: pytest.FixtureRequest, front: str, two_models: Path, tmp_path: Path
) -> Iterator[tuple[Server, Files]]:
    """A server, and its files."""
    files = certificates.put(tmp_path, issued(AUTHORITY))
    words = ("--front", front, *request.param, *certificates.options(files))
    with serving(two_models, tmp_path / "log", *words) as running:
        yield running, files


@contextmanager
def callers(server: Server, count: int) -> Iterator[Callable[[], list[str]]]:
    """Clients that connect, ask and leave, again and again; yields what tells their failures."""
    over, failures = Event(), list[str]()

    def ask() -> None:
        with channel(server.address, AUTHORITY) as opened:
            for _ in range(3):
                Stub(opened).ModelInfer(simple(1))

    def work() -> int:
        rounds = 0
        while not over.is_set():
            try:
                ask()
            except grpc.RpcError as error:
                failures.append(str(error))
            rounds += 1
        return rounds

    with ThreadPoolExecutor(count) as pool:
        working = [pool.submit(work) for _ in range(count)]
        try:
            yield lambda: failures
        finally:
            over.set()
        assert all(one.result() for one in working)


def until_all_show(server: Server, pair: Pair) -> None:
    """Wait until a certificate is shown by every worker, and at the port of the metrics."""
    certificates.until_shown(server.metrics, pair)
    shown = 0
    while shown < 12:
        shown = shown + 1 if certificates.shown(server.address) == pair.der else 0


def test_renewed_certificates_are_shown_and_nobody_fails(
    renewing: tuple[Server, Files],
) -> None:
    """While files are half-written or do not fit, the ones before stay, as the log says."""
    server, files = renewing
    first, second = issued(AUTHORITY), issued(AUTHORITY)
    with callers(server, 2) as failures:
        certificates.put(files.key.parent, first)
        until_all_show(server, first)
        replace(files.certificate, second.certificate)
        certificates.until_logged(server.log, TOLD)
        assert certificates.shown(server.address) == first.der
        replace(files.key, second.key[:100])
        until_logged_again(server.log)
        assert certificates.shown(server.address) == first.der
        replace(files.key, second.key)
        until_all_show(server, second)
        assert failures() == []


def until_logged_again(log: Path) -> None:
    """Wait for a reason of another kind."""
    certificates.until_logged(log, "in PEM")


def test_what_is_wrong_with_certificates_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at each look, but again after they were right."""
    monkeypatch.setattr(reading, "INTERVAL", 0)
    first, second = issued(AUTHORITY), issued(AUTHORITY)
    files = certificates.put(tmp_path, first)
    shown = reading.load(replaced(files, roots=None), lambda pem: pem.certificate)
    for pair, expected in ((first, first), (second, second)):
        files.key.unlink()
        assert [shown.current().form for _ in range(3)] == [first.certificate] * 3
        certificates.put(tmp_path, pair)
        assert shown.current().form == expected.certificate
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == [f"{TOLD}: cannot read {files.key}: No such file or directory"] * 2
