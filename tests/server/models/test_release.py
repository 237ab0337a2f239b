"""A model that no longer serves is released at once, without a garbage collection."""

import asyncio
import gc
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossrun_server.errors import LoadError
from crossrun_server.models import lanes, loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.repository import Repository
from crossrun_server.plans import search
from crossrun_server.runtime.session import Session
from crossrun_server.tensors.tensor_spec import Array
from tests.support import models
from tests.support.running import ON_CPU

DELAYED = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 1000 }"
UNFIT = """
model_warmup [{ inputs { key: "x" value { data_type: TYPE_FP32 dims: [3] zero_data: true } } }]
"""


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator["weakref.WeakSet[Session]"]:
    """The sessions that are alive, with no garbage collection to end any."""
    alive: weakref.WeakSet[Session] = weakref.WeakSet()

    class Watched(Session):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            self.largest = 0  # rows of a run
            alive.add(self)

        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
            self.largest = max(self.largest, *map(len, inputs.values()))
            return super().run(inputs, outputs)

    monkeypatch.setattr(lanes, "Session", Watched)
    gc.disable()
    yield alive
    gc.enable()


def test_sessions_that_were_measured_do_not_serve(
    made: "weakref.WeakSet[Any]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would keep the memory of the largest batch that was measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # no plan is known
    models.write(tmp_path, "m", models.scale(2), "max_batch_size: 8")
    loaded = loader.load(ModelSource(tmp_path / "m"), ON_CPU)
    assert made
    assert all(session.largest < min(search.BATCHES) for session in made)
    loaded.models[1].close()


def test_an_unloaded_model_is_released(made: "weakref.WeakSet[Session]", tmp_path: Path) -> None:
    """An unload frees the sessions of a model that has answered, with or without a delay."""
    models.write(tmp_path, "m", models.scale(2), DELAYED)

    async def scenario() -> None:
        repository = Repository(tmp_path, ON_CPU)
        await repository.load(ModelSource(tmp_path / "m"))
        await repository.get("m").infer({"x": np.ones((1, 1), np.float32)})
        assert made
        await repository.unload("m")
        await repository.close()

    asyncio.run(scenario())
    assert not made


def test_a_failed_load_is_released(made: "weakref.WeakSet[Session]", tmp_path: Path) -> None:
    """The sessions of a load that failed halfway are freed while its error is still looked at."""
    models.write(tmp_path, "m", models.scale(2), "version_policy { all {} }" + UNFIT)
    with pytest.raises(LoadError) as error:
        loader.load(ModelSource(tmp_path / "m"), ON_CPU)
    assert "failed to run warmup sample" in str(error.value)
    assert not made
