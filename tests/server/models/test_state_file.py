"""What clients have loaded is loaded again after a server was killed."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import ServingError
from crossrun_server.models.modes import Control, LoadPolicy, Mode
from crossrun_server.models.repository import Repository
from crossrun_server.models.state_file import LastWord, StateFile
from tests.support import models
from tests.support.control import connected, load, max_batch_size, multiply, product, ready, unload
from tests.support.running import ON_CPU, Command, serving

EXPLICIT = ("--model-control-mode", "explicit")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of `kept`, `m` and `other`."""
    for factor, name in enumerate(("kept", "m", "other"), 2):
        models.write(tmp_path / "models", name, models.scale(factor))
    return tmp_path / "models"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the state is kept."""
    return tmp_path / "state.json"


def told(stub: Stub) -> Any:
    """What the models of the repository are like."""
    loaded = [name for name in ("kept", "m", "other") if ready(stub, name)]
    return loaded, product(multiply(stub, "m")), max_batch_size(stub, "m")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_killed_server_comes_back_as_it_was(
    root: Path, file: Path, tmp_path: Path, workers: str
) -> None:
    """With what clients loaded, how they loaded it, and without what they unloaded."""
    options = [*EXPLICIT, "--load-model", "kept", "--state-file", str(file), "--workers", workers]
    expected = (["m"], 9, 5)
    with serving(root, tmp_path / "log", *options) as running, connected(running) as channel:
        stub = Stub(channel)
        load(stub, "m", {"max_batch_size": 5}).result()
        load(stub, "other").result()
        for name in ("kept", "other"):
            unload(stub, name).result()
        assert told(stub) == expected
        running.process.kill()
        running.process.wait()
    with serving(root, tmp_path / "log 2", *options) as again, connected(again) as channel:
        assert told(Stub(channel)) == expected


def test_a_model_that_is_broken_meanwhile_is_a_warning(
    root: Path, file: Path, tmp_path: Path
) -> None:
    """The server starts with the others, and says which is missing, and why."""
    words = {name: {"loaded": True, "config": None} for name in ("m", "other", "../m")}
    file.write_text(json.dumps({"format": 1, "models": words}))
    (root / "other" / "1" / "model.onnx").write_bytes(b"half a mod")
    options = (*EXPLICIT, "--state-file", str(file))
    with serving(root, tmp_path / "log", *options) as running, connected(running) as channel:
        assert [ready(Stub(channel), name) for name in ("m", "other")] == [True, False]
    log = running.log.read_text()
    gone = "which cannot be loaded any more: failed to load"
    assert [line[0] for line in log.splitlines() if gone in line] == ["W", "W"]
    assert f"a client had loaded other, {gone} 'other': version 1: onnxruntime cannot load" in log
    assert f"a client had loaded ../m, {gone} '../m': that cannot be a model's name" in log
    assert json.loads(file.read_text())["models"].keys() == words.keys()  # they may be mended


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ('{"format": 1, "models": {"m": {"loa', "Unterminated string"),
        ("[]", "it is no object of a format and models"),
        ('{"format": 2, "models": {}}', "its format is 2, expected 1"),
        ('{"format": 1, "models": []}', "expected 1, with models"),
        ('{"format": 1, "models": {"m": {"loaded": 1, "config": null}}}', "of 'm' it says no"),
        ('{"format": 1, "models": {"m": {"loaded": true, "config": 5}}}', "of 'm' it says no"),
    ],
)
def test_a_damaged_file_is_a_clear_error(file: Path, text: str, said: str) -> None:
    """It names the file, what is wrong and what was expected; the file stays as it is."""
    file.write_text(text)
    with pytest.raises(ServingError, match=re.escape(said)) as caught:
        StateFile(file)
    told = str(caught.value)
    assert told.startswith(f"--state-file {file} cannot be read: ")
    assert told.endswith("; expected what the server writes, or no such file")
    assert file.read_text() == text


def test_a_damaged_file_ends_the_start(run: Command, root: Path, file: Path) -> None:
    """With one line."""
    file.write_text("[]")
    failed = run("crossrun-serve", root, "--no-metrics", *EXPLICIT, "--state-file", file)
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"crossrun-serve: --state-file {file} cannot be read: ")


def test_a_file_that_cannot_be_written_is_an_error_at_the_start(
    run: Command, root: Path, tmp_path: Path
) -> None:
    """And not once the first client has loaded a model."""
    for workers in ("1", "2"):
        file = tmp_path / "nowhere" / "state.json"
        options = (
            *EXPLICIT,
            "--state-file",
            file,
            "--workers",
            workers,
            "--port",
            0,
            "--no-allow-http",
        )
        failed = run("crossrun-serve", root, "--no-metrics", *options)
        assert failed.returncode == 1
        said = f"--state-file {file} cannot be written: No such file or directory"
        assert failed.stderr == f"crossrun-serve: {said}\n"


def test_only_what_clients_load_can_be_kept(run: Command, root: Path, file: Path) -> None:
    """In the other modes the disk says what is loaded."""
    failed = run("crossrun-serve", root, "--no-metrics", "--state-file", file)
    assert failed.returncode == 1
    assert failed.stderr == "crossrun-serve: --state-file needs --model-control-mode explicit\n"


def test_a_model_that_was_sent_is_not_kept(
    root: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its files are nowhere; the log says so, and what was kept of the name is forgotten."""
    files = {"1/model.onnx": models.scale(7).SerializeToString()}

    async def scenario(control: Control) -> None:
        await control.load("m")
        assert StateFile(file).models == {"m": LastWord(loaded=True)}
        await control.load("m", "{}", files)

    play(scenario, root, file)
    assert StateFile(file).models == {}
    assert "m is not kept for the next start: its files are not on the disk" in caplog.text


def test_a_load_whose_caller_has_left_is_kept(root: Path, file: Path) -> None:
    """It goes on to its end, and so does what is written of it."""

    async def scenario(control: Control) -> None:
        loading = asyncio.create_task(control.load("m"))
        await asyncio.sleep(0)
        loading.cancel()

    play(scenario, root, file)
    assert StateFile(file).models == {"m": LastWord(loaded=True)}


def test_a_load_that_fails_is_not_kept(root: Path, file: Path) -> None:
    """The model that served goes on, and would be loaded again."""

    async def scenario(control: Control) -> None:
        await control.load("m", '{"max_batch_size": 5}')
        with pytest.raises(Exception, match="failed to load"):
            await control.load("m", '{"max_batch_size": -5}')

    play(scenario, root, file)
    assert StateFile(file).models == {"m": LastWord(loaded=True, config='{"max_batch_size": 5}')}


def play(scenario: Any, root: Path, file: Path) -> None:
    """Run a scenario with a control that keeps its state."""

    async def run() -> None:
        repository = Repository(root, ON_CPU)
        control = Control(
            repository, LoadPolicy(Mode.EXPLICIT, uploads=True), state=StateFile(file)
        )
        await scenario(control)
        await repository.close()

    asyncio.run(run())


def test_a_write_that_fails_leaves_the_file_before(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk costs the last word, is told in the log, and leaves nothing half-written."""
    state = StateFile(file)
    state.loaded("m", None, sent=False)
    before = file.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    state.unloaded("m")
    assert file.read_text() == before
    assert list(file.parent.iterdir()) == [file]
    assert "the state of m is not kept for the next start: [Errno 28] No space left" in caplog.text
