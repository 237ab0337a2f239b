"""Several workers on one port: a real server, real clients, workers that are killed."""

import asyncio
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from logging import NullHandler
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.app import Config
from crossrun_server.errors import ServingError
from crossrun_server.telemetry import logs
from crossrun_server.workers import supervisor
from crossrun_server.workers.link import Lost, Peer, answering
from crossrun_server.workers.supervisor import Crew
from tests.support import models
from tests.support.control import index, load, multiply, product, ready, unload
from tests.support.memory import Create, register, status, unregister
from tests.support.requests import gather, outcome, until_running
from tests.support.running import Command, Server, serving
from tests.support.telemetry import http, logging, samples, scrape, statistics, trace, traces

TWO = ("--workers", "2")
# Connections, each to a worker of the kernel's choice: that all go to one happens once in 10^7.
MANY = 24
WARM = {"data_type": "TYPE_INT64", "dims": [1], "input_data_file": "turns"}


def four_models(root: Path) -> Path:
    """`kept`, `m`, `gather`, `slow`."""
    models.write(root, "kept", models.scale(2))
    models.write(root, "m", models.scale(3))
    models.write(root, "gather", models.gather(), "max_batch_size: 8")
    models.write(root, "slow", models.slow(), models.SLOW_CONFIG)
    return root


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers with every model, for the tests that leave them running; requests are logged."""
    room = tmp_path_factory.mktemp("plain")
    options = (*TWO, "--log-verbose", "1")
    with serving(four_models(room / "models"), room / "log", *options) as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Models that a test may change."""
    return four_models(tmp_path / "models")


@pytest.fixture
def own(repository: Path, log_file: Path) -> Iterator[Server]:
    """Two workers that a test may end."""
    with serving(repository, log_file, *TWO) as running:
        yield running


@pytest.fixture
def explicit(repository: Path, log_file: Path, tmp_path: Path) -> Iterator[Server]:
    """Two workers with `kept` and `m`, which take everything that a client may change."""
    options = ["--model-control-mode", "explicit", "--load-model", "kept", "--load-model", "m"]
    options += [
        "--allow-model-upload",
        "--shared-memory",
        "--trace-config",
        f"triton,file={tmp_path / 'trace.json'}",
    ]
    with serving(repository, log_file, *TWO, *options) as running:
        yield running


@contextmanager
def connected(server: Server) -> Iterator[list[grpc.Channel]]:
    """Many connections, so that every worker has some."""
    options = (("grpc.use_local_subchannel_pool", 1),)  # else one address has one connection
    with ExitStack() as stack:
        yield [
            stack.enter_context(grpc.insecure_channel(server.address, options)) for _ in range(MANY)
        ]


def everywhere(server: Server, ask: Callable[[grpc.Channel], Any]) -> Any:
    """Ask over many connections; returns the answer, which is the same from every worker."""
    with connected(server) as channels:
        first, *others = [ask(channel) for channel in channels]
    assert all(answer == first for answer in others)
    return first


def workers(server: Server) -> list[psutil.Process]:
    children: list[psutil.Process] = psutil.Process(server.process.pid).children()
    return children


def until(true: Callable[[], bool]) -> None:
    """Wait; the test's own limit ends it."""
    while not true():
        time.sleep(0.02)


def kill(server: Server, worker: psutil.Process) -> None:
    """Kill a worker as the system would, and wait for the next one to serve."""
    before = server.log.read_text().count(" serves\n")
    worker.kill()
    until(lambda: server.log.read_text().count(" serves\n") > before)


def ended(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() for process in processes)


def test_the_metrics_of_all_workers_are_at_one_path(plain: Server) -> None:
    """The supervisor serves the metrics, and nothing else on their port."""
    assert [http(plain, path)[0] for path in ("/metrics", "/v2/health/ready")] == [200, 404]


def test_the_link_is_for_the_servers_user_alone(plain: Server) -> None:
    """Supervisor and workers talk over sockets in a folder that nobody else may enter."""
    processes = [psutil.Process(plain.process.pid), *workers(plain)]
    sockets = {
        Path(str(one.laddr))
        for process in processes
        for one in process.net_connections("unix")
        if "crossrun-" in str(one.laddr)
    }
    assert {path.name for path in sockets} >= {"supervisor", "1", "2"}
    for folder in {path.parent for path in sockets}:
        status = folder.stat()
        assert (status.st_uid, status.st_mode & 0o077) == (os.geteuid(), 0)


def test_every_worker_answers(plain: Server) -> None:
    """The kernel spreads connections over the workers, and all of them are healthy."""
    ask = health_pb2.HealthCheckRequest(service="gather")
    healthy = lambda c: health_pb2_grpc.HealthStub(c).Check(ask).status  # type: ignore[attr-defined]  # noqa: E731
    assert everywhere(plain, healthy) == health_pb2.HealthCheckResponse.SERVING
    everywhere(plain, lambda c: Stub(c).ModelInfer(gather(7)).raw_output_contents[0])
    pids = re.findall(r" (\d+) \S+\] gather version 1, request", plain.log.read_text())
    assert len(pids) == MANY
    assert {int(pid) for pid in pids} == {worker.pid for worker in workers(plain)}


def test_counters_add_up_and_outlive_a_worker(plain: Server) -> None:
    """Each worker returns the sum of all, and no counter ever goes down."""
    everywhere(plain, lambda c: product(multiply(Stub(c), "m")))

    def told() -> tuple[int, int, int, list[float], list[float]]:
        found = everywhere(plain, lambda c: statistics(Stub(c), "m"))
        return (
            found.inference_count,
            found.inference_stats.success.count,
            sum(batch.compute_infer.count for batch in found.batch_stats),
            samples(plain, "nv_inference_request_success", model="m"),
            samples(plain, "crossrun_request_duration_seconds_count", model="m"),
        )

    assert told() == (MANY, MANY, MANY, [MANY], [MANY])
    assert samples(plain, "crossrun_model_nodes", model="m") == [1]
    assert samples(plain, "nv_inference_pending_request_count", model="m") == [0]
    kill(plain, workers(plain)[0])
    assert told() == (MANY, MANY, MANY, [MANY], [MANY])


def test_what_is_told_of_processes_adds_up_where_it_can(own: Server) -> None:
    """Failures and connections are sums, and failures stay; each process has its CPU and memory."""

    def told() -> tuple[list[float], list[float]]:
        return (
            samples(own, "crossrun_failed_calls_total", reason="UnknownModel"),
            samples(own, "crossrun_in_flight_bytes"),
        )

    everywhere(
        own, lambda c: outcome(Stub(c).ModelInfer.future(pb.ModelInferRequest(model_name="nobody")))
    )
    assert told() == ([MANY], [0])
    kill(own, workers(own)[0])
    assert told() == ([MANY], [0])
    found = {
        sample.labels["process"]: sample.value
        for family in text_string_to_metric_families(scrape(own))
        for sample in family.samples
        if sample.name == "process_resident_memory_bytes"
    }
    assert len(found) == 3
    assert {"supervisor", "worker3"} < found.keys()
    assert min(found.values()) > 1e6


def test_a_control_call_that_fails_is_counted_where_it_was_asked(own: Server) -> None:
    """Whichever worker is called, it is one failure and one line."""
    with grpc.insecure_channel(own.address) as channel:
        unloaded = Stub(channel).RepositoryModelUnload.future(
            pb.RepositoryModelUnloadRequest(model_name="kept")
        )
        code = outcome(unloaded)[0]
    assert samples(own, "crossrun_failed_calls_total", code=code.name, reason="Ended") == [1]
    assert own.log.read_text().count("RepositoryModelUnload code=") == 1


def test_a_change_reaches_every_worker_and_those_that_come_later(
    explicit: Server, create: Create, tmp_path: Path
) -> None:
    """Models, overrides, files, regions, trace and log settings: told by all, and by new ones."""
    key, gone = create(bytes(100)), create(bytes(100))
    with grpc.insecure_channel(explicit.address) as channel:
        stub = Stub(channel)
        load(stub, "kept", {"max_batch_size": 5}).result()
        load(stub, "sent", {}, **{"7/model.onnx": models.scale(7).SerializeToString()}).result()
        load(stub, "gather").result()
        unload(stub, "gather").result()
        unload(stub, "m").result()
        for name in ("memory", "other"):
            register(channel, key, 100, name=name)
        register(channel, gone, 100, name="gone")
        unregister(channel, "other")
    trace(explicit, trace_level=["TIMESTAMPS"])
    trace(explicit, "kept", trace_rate=["1"])
    logging(explicit, log_format="ISO8601")
    logging(explicit, log_verbose_level=1)

    def told(channel: grpc.Channel) -> Any:
        stub = Stub(channel)
        one, all_ = (stub.TraceSetting(pb.TraceSettingRequest(model_name=n)) for n in ("kept", ""))
        levels = stub.LogSettings(pb.LogSettingsRequest()).settings
        return (
            stub.ModelConfig(pb.ModelConfigRequest(name="kept")).config.max_batch_size,
            product(multiply(stub, "sent")),
            [ready(stub, name) for name in ("kept", "gather", "m")],
            [one.settings["trace_rate"].value[0], all_.settings["trace_rate"].value[0]],
            all_.settings["trace_level"].value[0],
            (levels["log_format"].string_param, levels["log_verbose_level"].uint32_param),
            status(channel, "memory"),
        )

    expected = (
        5, 21, [True, False, False], ["1", "1000"], "TIMESTAMPS", ("ISO8601", 1),
        {"memory": (key, 0, 100)},
    )  # fmt: skip
    assert everywhere(explicit, told) == expected
    assert everywhere(explicit, status).keys() == {"memory", "gone"}
    Path("/dev/shm", gone[1:]).unlink()  # who comes later has to do without it
    for worker in workers(explicit):
        kill(explicit, worker)
    assert everywhere(explicit, told) == expected
    assert everywhere(explicit, status).keys() == {"memory"}
    everywhere(explicit, lambda c: product(multiply(Stub(c), "kept")))
    assert explicit.stop() == 0
    files = list(tmp_path.glob("trace.json.worker*"))
    assert len(files) == 2
    kept = [t for file in files for t in traces(file).values() if t["model_name"] == "kept"]
    assert len(kept) == MANY


def test_who_is_not_killed_notices_nothing(plain: Server) -> None:
    """A worker that ends takes its own connections along; the others go on, on the same port."""
    one, other = workers(plain)
    with connected(plain) as channels:
        for number, channel in enumerate(channels):
            message = gather(7)
            message.id = str(number)
            Stub(channel).ModelInfer(message)
        told = re.findall(r" (\d+) \S+\] gather version 1, request '(\d+)'", plain.log.read_text())
        staying = [channels[int(number)] for pid, number in told if int(pid) == other.pid]
        kill(plain, one)
        for channel in staying:
            Stub(channel).ModelInfer(gather(7))
        for channel in channels:  # those that lost theirs connect again
            Stub(channel).ModelInfer(gather(7), wait_for_ready=True)
    assert other in workers(plain)


def test_a_load_that_one_worker_does_not_survive_changes_nothing(
    explicit: Server, repository: Path
) -> None:
    """All have to be ready before any switches; the caller may try again."""
    (repository / "slow" / "warmup").mkdir()
    (repository / "slow" / "warmup" / "turns").write_bytes((400_000).to_bytes(8, "little"))
    config = {"model_warmup": [{"name": "long", "inputs": {"turns": WARM}}]}
    with grpc.insecure_channel(explicit.address) as channel:
        stub, here = Stub(channel), _worker_of(explicit, channel)
        loading = load(stub, "slow", config)
        until(lambda: index(stub, "slow") == {"1": ("LOADING", "")})
        (victim,) = [worker for worker in workers(explicit) if worker.pid != here]
        kill(explicit, victim)
        assert loading.code() == StatusCode.UNAVAILABLE
        assert loading.details() == "a worker ended meanwhile; nothing has changed"
    assert everywhere(explicit, lambda c: ready(Stub(c), "slow")) is False
    with grpc.insecure_channel(explicit.address) as channel:
        load(Stub(channel), "slow").result()
    assert everywhere(explicit, lambda c: ready(Stub(c), "slow")) is True


def _worker_of(server: Server, channel: grpc.Channel) -> int:
    """The worker that has a connection: it logs what it is asked, with its process id."""
    logging(server, log_verbose_level=1)
    message = pb.ModelInferRequest(model_name="kept", id="whose")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(bytes(4))
    Stub(channel).ModelInfer(message)
    found = re.findall(r" (\d+) \S+\] kept version 1, request 'whose'", server.log.read_text())
    return int(found[-1])


@pytest.mark.parametrize("how", ["closed", "left"])
def test_a_call_to_a_worker_that_is_let_go_has_an_end(how: str, tmp_path: Path) -> None:
    """The call is Lost if its connection is closed; a cancelled caller stays cancelled."""

    async def scenario() -> None:
        called = asyncio.Event()

        async def never() -> None:
            called.set()
            await asyncio.Event().wait()

        async with answering(tmp_path / "1", {"never": never}):
            peer = Peer(tmp_path / "1")
            waiting = asyncio.create_task(peer.call("never"))
            await called.wait()
            if how == "left":
                waiting.cancel()
            await peer.close()
            with pytest.raises(Lost if how == "closed" else asyncio.CancelledError):
                await waiting

    asyncio.run(scenario())


def test_a_model_that_is_broken_on_disk(explicit: Server, repository: Path) -> None:
    """Its load is refused, as in a single process, and no later worker starts without it.

    After three tries in a row the server says why, in one line, and is gone.
    """
    (repository / "kept" / "1" / "model.onnx").write_bytes(b"half a mod")
    with grpc.insecure_channel(explicit.address) as channel:
        stub = Stub(channel)
        refused = load(stub, "kept")
        assert refused.code() == StatusCode.INVALID_ARGUMENT
        assert refused.details().startswith("failed to load 'kept': version 1: onnxruntime cannot")
        assert unload(stub, "nobody").code() == StatusCode.NOT_FOUND
    assert everywhere(explicit, lambda c: product(multiply(Stub(c), "kept"))) == 6
    before = workers(explicit)
    before[0].kill()
    assert explicit.process.wait(60) == 1
    lines = explicit.log.read_text().splitlines()
    assert lines[-1].startswith("crossrun-serve: failed to load 'kept': version 1: onnxruntime")
    assert sum("a worker did not start" in line for line in lines) == 2
    until(lambda: ended(before))


def test_a_start_that_fails_is_one_line(tmp_path: Path, run: Command) -> None:
    """However many workers fail, the server prints the same line as a single process."""
    models.write(tmp_path / "m", "broken", models.gather(), "platform: 'tensorrt_plan'")
    failed = run(
        "crossrun-serve", tmp_path / "m", "--port", 0, "--no-metrics", "--no-allow-http", *TWO
    )
    assert (failed.returncode, failed.stdout) == (1, "")
    (line,) = failed.stderr.splitlines()
    assert line.startswith("crossrun-serve: failed to load 'broken': ")


def test_a_worker_that_ends_as_another_fails_keeps_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is killed when it has ended and nobody has noticed yet: the log tells of no stranger."""
    wait, pids = os.waitpid, []

    def late(pid: int, flags: int) -> tuple[int, int]:
        if threading.current_thread() is not threading.main_thread():
            pids.append(pid)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            time.sleep(0.3 * len(pids))
        return wait(pid, flags)

    async def run() -> None:
        crew = Crew(Config(tmp_path), 2, tmp_path, logs.Log(logs.LogSettings(), NullHandler()))
        await crew.run(asyncio.Event(), lambda: None)

    monkeypatch.setattr(supervisor, "COMMAND", (sys.executable, "-c", "raise SystemExit(3)"))
    monkeypatch.setattr(os, "waitpid", late)
    with pytest.raises(ServingError, match=r"^a worker ended with code 3 during its start$"):
        asyncio.run(run())
    assert caplog.text == ""


def test_a_stop_drains_every_worker(own: Server) -> None:
    """Requests at work are answered, the exit code is 0, and no process is left."""
    before = workers(own)
    with grpc.insecure_channel(own.address) as channel:
        accepted = until_running(Stub(channel))
        for pid in [own.process.pid, *(worker.pid for worker in before)]:  # as systemd does
            os.kill(pid, signal.SIGTERM)
        assert len(accepted.result().raw_output_contents) == 1
    assert own.process.wait(60) == 0
    assert ended(before)
    assert "Traceback" not in own.log.read_text()


def test_a_second_signal_forces_the_end(own: Server) -> None:
    """The server waits for nobody, and leaves no process behind."""
    before = workers(own)
    with grpc.insecure_channel(own.address) as channel:
        accepted = until_running(Stub(channel))
        own.process.terminate()
        until(lambda: "draining" in own.log.read_text())
        own.process.terminate()
        assert accepted.code() == StatusCode.UNAVAILABLE
    assert own.process.wait(60) == 1
    until(lambda: ended(before))


def test_workers_end_with_their_supervisor(own: Server) -> None:
    """A supervisor that is killed cannot tell its workers, and they end all the same."""
    before = workers(own)
    own.process.kill()
    until(lambda: ended(before))


def test_the_port_is_not_shared_with_strangers(
    plain: Server, repository: Path, run: Command
) -> None:
    """Others cannot listen on the port, and the workers do not join others on theirs."""
    port = plain.address.rpartition(":")[2]
    for options in (TWO, ()):
        refused = run(
            "crossrun-serve",
            repository,
            "--port",
            port,
            "--no-metrics",
            "--no-allow-http",
            *options,
        )
        assert refused.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr.splitlines()[-1]
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = str(stranger.getsockname()[1])
        refused = run(
            "crossrun-serve", repository, "--port", port, "--no-metrics", "--no-allow-http", *TWO
        )
    (line,) = refused.stderr.splitlines()
    assert line == f"crossrun-serve: cannot listen on 127.0.0.1:{port}: is the port in use?"
