"""`crossrun status`, `models`, `load`, `unload` and `wait`, of ours and of any other server."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.client.conftest import Ask, heed_interrupts
from tests.support import broken_oip, models
from tests.support.control import load, multiply
from tests.support.requests import gather, infer, simple
from tests.support.running import BIN, Command, Server, serving

Answer = Callable[..., Any]


@pytest.fixture(scope="module")
def two(two_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two models that have been asked."""
    with serving(two_models, tmp_path_factory.mktemp("log") / "log", "--provider", "cpu") as server:
        infer(server, simple(1), simple(1, 2), gather(3))
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    """A server of the protocol's core alone."""
    with broken_oip.running(["nothing"]) as addresses:
        yield addresses["nothing"]


def test_status_tells_all_models(two: Server, run: Command) -> None:
    """With what computes them, and what they have done since they were loaded."""
    done = run("crossrun", "status", "--address", two.address, "--json")
    told = json.loads(done.stdout)
    assert (told["name"], told["ready"]) == ("crossrun", True)
    assert told["front"] in ("native", "python")
    gathered, simply = told["models"]
    assert (gathered["name"], simply["name"]) == ("gather", "simple")
    assert (simply["version"], simply["state"], simply["reason"]) == ("1", "READY", "")
    assert simply["placed"]["nodes"] == {"cpu": 2}
    assert simply["plan"]
    counted = simply["since_load"]
    assert (counted["requests"], counted["failures"]) == (2, 0)
    assert counted["latency_ms"] >= counted["compute_ms"] > 0
    assert counted["rows_per_run"] == 1.5


def test_status_is_a_table_for_people(two: Server, run: Command) -> None:
    """Once, where no terminal is; of the models that are named."""
    done = run("crossrun", "status", "gather", "--address", two.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("crossrun ")
    assert f" at {two.address}, front " in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert any(row[:7] == ["gather", "1", "READY", "1", "node", "on", "cpu"] for row in rows)
    assert "simple" not in done.stdout


def test_status_goes_on_on_a_terminal(two: Server) -> None:
    """It shows what happened since its last look, and Ctrl-C ends it well."""
    ours, theirs = pty.openpty()
    words = [BIN / "crossrun", "status", "--every", "0.1", "--address", two.address]
    environment = os.environ | {"COLUMNS": "140", "LINES": "40", "TERM": "xterm"}
    with subprocess.Popen(
        list(map(str, words)),
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env=environment,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as process:
        os.close(theirs)
        shown = b""
        while b"Requests/s" not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # once it has ended
            while process.poll() is None:
                os.read(ours, 4096)  # so that it is not held up
    os.close(ours)
    assert process.returncode == 0
    assert b"Traceback" not in shown


def test_a_server_of_another_kind_is_told_as_far_as_it_tells(plain: str, run: Command) -> None:
    """Without an index models have to be named; without our services columns stay empty."""
    at = ("--address", plain)
    done = run("crossrun", "status", *at)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"broken 1 at {plain}, ready\n")
    assert "it does not list its models; name some" in done.stdout
    assert json.loads(run("crossrun", "status", *at, "--json").stdout)["models"] is None
    (told,) = json.loads(run("crossrun", "status", "oip_simple", *at, "--json").stdout)["models"]
    assert (told["version"], told["state"]) == ("1", "READY")
    assert told["placed"] is told["since_load"] is told["plan"] is None
    assert "oip_simple 1" in run("crossrun", "status", "oip_simple", *at).stdout
    assert run("crossrun", "wait", "--model", "oip_simple", *at).returncode == 0
    for words, text in (
        (("models",), "the server does not list its models; expected Triton's RepositoryIndex"),
        (("load", "oip_simple"), "UNIMPLEMENTED"),
        (("status", "nobody"), "NOT_FOUND"),
    ):
        done = run("crossrun", *words, *at)
        assert done.returncode == 1
        assert text in done.stderr


def test_models_are_loaded_and_unloaded(root: Path, stub: Stub, answer: Answer) -> None:
    """And listed, with the versions that are known."""
    models.write(root, "coming", models.scale(2))
    assert {one["name"]: one["state"] for one in answer("models")}["coming"] == "UNAVAILABLE"
    (told,) = answer("load", "coming")
    assert (told["name"], told["version"], told["state"]) == ("coming", "1", "READY")
    (told,) = answer("unload", "coming")
    assert told["state"] in ("UNLOADING", "UNAVAILABLE")
    assert multiply(stub, "coming").code().name == "UNAVAILABLE"


def test_a_load_may_bring_a_configuration(
    root: Path, tmp_path: Path, ask: Ask, answer: Answer
) -> None:
    """From a file, which has to be one."""
    models.write(root, "configured", models.scale(2))
    file = tmp_path / "config.json"
    file.write_text('{"parameters": {"plan": {"string_value": "1x1"}}}')
    (told,) = answer("load", "configured", "--config", file)
    assert told["plan"] == "1x1"
    file.write_text("plan: 1x1")
    done = ask("load", "configured", "--config", file)
    assert done.returncode == 1
    assert f"{file}: expected a ModelConfig as JSON: " in done.stderr


def test_a_model_that_cannot_be_loaded_is_told(root: Path, ask: Ask) -> None:
    """In one line, with the server's reason."""
    (root / "damaged" / "1").mkdir(parents=True)
    (root / "damaged" / "1" / "model.onnx").write_bytes(b"nothing")
    for words, text in (
        (("load", "damaged"), "INVALID_ARGUMENT: failed to load 'damaged': version 1: "),
        (("load", "nobody"), "INTERNAL: failed to load 'nobody', failed to poll from model"),
        (("unload", "nobody"), "NOT_FOUND: Request for unknown model: 'nobody' is not found"),
        (("status", "nobody"), "NOT_FOUND: there is no model 'nobody'"),
    ):
        done = ask(*words)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert done.stderr.startswith(f"crossrun: {text}")
    done = ask("status")
    assert "damaged 1" in done.stdout
    assert "failed to load" in done.stdout


def test_wait_ends_when_a_model_serves(root: Path, stub: Stub, ask: Ask) -> None:
    """And says nothing; the server alone is waited for without a name."""
    models.write(root, "awaited", models.scale(2))
    loading = load(stub, "awaited")
    for words in (("wait",), ("wait", "--model", "awaited")):
        done = ask(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    loading.result()


def test_wait_gives_up(nowhere: str, ask: Ask) -> None:
    """With exit status 1, and what it saw last."""
    for words, text in (
        (("--model", "nobody"), "waited 0.3 s for nobody: it is not ready"),
        (("--address", nowhere), f"waited 0.3 s for the server: cannot connect to {nowhere}: "),
    ):
        done = ask("wait", "--timeout", 0.3, *words)
        assert done.returncode == 1
        assert done.stderr.startswith(f"crossrun: {text}")
