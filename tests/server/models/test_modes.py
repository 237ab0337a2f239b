"""When models are loaded: at the start, as the disk changes, or as somebody asks."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import LoadError, ServingError, TooMany
from crossrun_server.models import repository
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.modes import Control, LoadPolicy, Mode
from crossrun_server.models.repository import Repository
from tests.support import models
from tests.support.control import (
    BOTH_VERSIONS,
    NOT_SERVING,
    check_refused,
    connected,
    index,
    multiply,
    product,
    ready,
    two_versions,
    until,
    watch,
)
from tests.support.running import ON_CPU, serving

POLL = ("--model-control-mode", "poll", "--repository-poll-secs", "1")


@pytest.fixture
def polling(tmp_path: Path) -> Iterator[Stub]:
    """A server of its own that looks at TMP_PATH/models once a second."""
    two_versions(tmp_path / "models", "m")
    with (
        serving(tmp_path / "models", tmp_path / "log", *POLL) as running,
        connected(running) as channel,
    ):
        yield Stub(channel)


def test_loading_on_request_needs_the_mode_for_it(tiny_models: Path, tmp_path: Path) -> None:
    """In mode none Load and Unload are refused in Triton's words, and the model serves on."""
    with (
        serving(tiny_models, tmp_path / "log") as running,
        connected(running) as channel,
    ):
        check_refused(Stub(channel), "simple")


def test_polling_follows_the_disk(polling: Stub, tmp_path: Path) -> None:
    """New, changed and vanished models and versions are picked up; what did not change stays."""
    root = tmp_path / "models"
    check_refused(polling, "m")
    models.write(root, "new", models.scale(5))
    until(polling, "new", "1", "READY")
    (root / "m" / "config.pbtxt").write_text(BOTH_VERSIONS)
    until(polling, "m", "1", "READY")
    models.write(root, "m", models.scale(3), version=3)
    until(polling, "m", "3", "READY")
    assert product(multiply(polling, "m")) == 9
    shutil.rmtree(root / "m" / "3")
    until(polling, "m", "3", "UNAVAILABLE", "unloaded")
    assert product(multiply(polling, "m")) == 6
    shutil.rmtree(root / "new")
    until(polling, "new", "1", "UNAVAILABLE", "unloaded")
    assert not ready(polling, "new")
    log = (tmp_path / "log").read_text()
    assert log.count("loaded m version 1 ") == 1  # for the new configuration, then kept
    assert log.count("loaded m version 2 ") == 2  # before it and for it


def test_polling_outlives_a_half_copied_version(polling: Stub, tmp_path: Path) -> None:
    """It fails, says why and is tried again once it changes; the old one serves meanwhile."""
    root, whole = tmp_path / "models", models.scale(3).SerializeToString()
    file = root / "m" / "3" / "model.onnx"
    file.parent.mkdir()
    file.write_bytes(whole[: len(whole) // 2])
    reason = "failed to load 'm': version 3: onnxruntime cannot load"
    until(polling, "m", "3", "UNAVAILABLE", reason)
    assert index(polling, "m")["2"] == ("READY", "")
    assert product(multiply(polling, "m")) == 6
    file.write_bytes(whole)
    until(polling, "m", "3", "READY")
    assert product(multiply(polling, "m")) == 9


def test_a_start_can_go_on_without_a_broken_model(tmp_path: Path) -> None:
    """With --no-exit-on-error the broken one is UNAVAILABLE with its reason, others serve."""
    root = tmp_path / "models"
    two_versions(root, "m")
    (root / "broken").mkdir()
    with (
        serving(root, tmp_path / "log", "--no-exit-on-error") as running,
        connected(running) as channel,
    ):
        stub = Stub(channel)
        state, reason = index(stub, "broken")[""]
        assert state == "UNAVAILABLE"
        assert reason.startswith("failed to load 'broken': broken has no version")
        assert not ready(stub, "broken")
        assert next(watch(channel, "broken")).status == NOT_SERVING
        assert product(multiply(stub, "m")) == 6


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (LoadPolicy(at_start=("m",)), "--load-model needs --model-control-mode explicit"),
        (LoadPolicy(Mode.EXPLICIT, ("*", "m")), "'\\*' stands for every model, expected no other"),
        (LoadPolicy(Mode.EXPLICIT, ("nobody",)), "failed to load 'nobody', failed to poll"),
        (
            LoadPolicy(Mode.EXPLICIT, ("../m",)),
            "failed to load '../m': that cannot be a model's name",
        ),
    ],
)
def test_a_start_that_cannot_be_meant_is_refused(
    tmp_path: Path, policy: LoadPolicy, expected: str
) -> None:
    """--load-model without the mode for it, '*' beside a name, and a name that is not there."""
    two_versions(tmp_path, "m")
    control = Control(Repository(tmp_path, ON_CPU), policy)
    with pytest.raises(ServingError, match=expected):
        asyncio.run(control.start())


def test_every_model_can_be_loaded_at_an_explicit_start(tmp_path: Path) -> None:
    """--load-model '*' loads what is there; without it nothing is loaded."""

    async def loaded(*names: str) -> list[str]:
        repository = Repository(tmp_path, ON_CPU)
        await Control(repository, LoadPolicy(Mode.EXPLICIT, names)).start()
        found = sorted(model.name for model in repository)
        await repository.close()
        return found

    for name in "ab":
        two_versions(tmp_path, name)
    assert asyncio.run(loaded("*")) == ["a", "b"]
    assert asyncio.run(loaded("b", "b")) == ["b"]
    assert asyncio.run(loaded()) == []


def test_a_folder_that_went_before_it_was_loaded_hides_no_other_change(tmp_path: Path) -> None:
    """A look at the disk acts on all that changed, also where one model was never loaded."""
    two_versions(tmp_path, "kept")

    async def scenario() -> list[str]:
        repository = Repository(tmp_path, ON_CPU)
        control = Control(repository, LoadPolicy(Mode.POLL, poll_seconds=0, exit_on_error=False))
        await control.start()
        control._seen["gone"] = control._seen["kept"]  # seen, and gone while it was to be loaded
        two_versions(tmp_path, "new")
        await control._poll()
        await repository.close()
        return sorted(model.name for model in repository)

    assert asyncio.run(scenario()) == ["kept", "new"]


def test_only_so_many_names_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads that fail leave their names in the index, so there is an end to new ones."""
    monkeypatch.setattr(repository, "MOST_KNOWN", 1)

    async def load(name: str) -> None:
        source = ModelSource(tmp_path / name, config="{}", files={"1/model.onnx": b"none"})
        await known.load(source)

    known = Repository(tmp_path, ON_CPU)
    with pytest.raises(LoadError):
        asyncio.run(load("first"))
    with pytest.raises(TooMany, match="'second': 1 models are known already"):
        asyncio.run(load("second"))
