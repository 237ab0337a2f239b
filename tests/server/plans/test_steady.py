"""What is measured while a host moves the cores is measured again, and otherwise not kept."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import pytest

from crossrun_server import cores
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.plans import core_distance, search, steady
from crossrun_server.tune import tune
from tests.support import models
from tests.support.running import ON_CPU

NEAR, FAR = 220, 460  # nanoseconds
several = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")


class Measured(NamedTuple):
    trips: Sequence[int]


def attempts(*found: Sequence[int]) -> tuple[int, str]:
    """Measure at these distances; gives how often that was, and the doubt."""
    left = list(found)
    _, doubt = steady.steadily(lambda: Measured(left.pop(0)))
    return len(found) - len(left), doubt


@pytest.mark.parametrize(
    ("found", "times"),
    [
        ([[NEAR, NEAR + 40, NEAR]], 1),
        ([[FAR, FAR + 40]], 1),
        ([[]], 1),
        ([[NEAR, FAR, FAR], [NEAR, NEAR]], 2),
        ([[NEAR, FAR], [FAR, FAR], [NEAR, NEAR]], 3),
    ],
)
def test_a_measurement_that_a_move_disturbed_is_repeated(
    found: list[list[int]], times: int
) -> None:
    """Until the cores stay as near as they were seen; nothing known is no disturbance."""
    assert attempts(*found) == (times, "")


@pytest.mark.parametrize(
    "found",
    [
        [[NEAR, FAR], [FAR, NEAR], [NEAR, FAR]],
        # All of the last one was measured in a slow phase.
        [[NEAR, FAR], [FAR, FAR], [FAR, FAR]],
    ],
)
def test_after_three_times_the_last_is_in_doubt(found: list[list[int]]) -> None:
    """In words that have both distances."""
    times, doubt = attempts(*found)
    assert times == 3
    assert doubt.startswith("a host moved the cores while this was measured: ")
    assert doubt.endswith("a byte took 220 ns at one time, 460 ns at another")


@several
def test_a_byte_takes_some_time_from_core_to_core() -> None:
    """Where a core is free within twenty tries; our own threads stay where they may run."""
    ours = os.sched_getaffinity(0)
    found = next((ns for ns in (core_distance.nanoseconds() for _ in range(20)) if ns), None)
    if found is None:
        pytest.skip("others hold the cores")
    assert 20 < found < 1_000_000
    assert os.sched_getaffinity(0) == ours


def test_one_core_has_no_other() -> None:
    """Then nothing is known, and nothing in doubt."""
    code = "import os; from crossrun_server.plans.core_distance import nanoseconds as found\n"
    code += "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(found())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_a_process_that_cannot_start_another_knows_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan is measured all the same."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert core_distance.nanoseconds() is None


# --- Plans -----------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSource:
    """A model on a machine of two cores, where nobody else has them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cores, "available", lambda: 2)
    monkeypatch.setattr(cores, "granted", lambda: 2.0)
    monkeypatch.setattr(cores, "waited", lambda: 0.0)
    monkeypatch.setattr(search, "SECONDS", 0.01)
    models.write(tmp_path / "m", "simple", models.sum_and_difference(), "max_batch_size: 8")
    return ModelSource(tmp_path / "m/simple")


def distances(monkeypatch: pytest.MonkeyPatch, found: Iterator[int]) -> None:
    monkeypatch.setattr(core_distance, "nanoseconds", lambda: next(found))


def kept(model: ModelSource) -> list[str]:
    folder = model.folder.parent.parent / "cache/crossrun/plans"
    return [file.read_text() for file in folder.iterdir() if file.name != "lock"]


def loaded(model: ModelSource) -> str:
    """Load it; gives its plan."""
    (found,) = loader.load(model, ON_CPU).models.values()
    found.close()
    return found.config.proto.parameters["crossrun.plan"].string_value


def test_a_plan_measured_while_the_cores_moved_is_used_and_not_kept(
    model: ModelSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three searches are disturbed; the log says so, and the next load measures and keeps."""
    distances(monkeypatch, chain([NEAR], repeat(FAR)))
    assert loaded(model)
    assert kept(model) == []
    told = "simple: a host moved the cores while this was measured: from one to another and back"
    assert (
        f"{told} a byte took 220 ns at one time, 460 ns at another; the plan is used and not k"
        in caplog.text
    )
    plan = loaded(model)
    assert kept(model) == [f"{plan}\n"]


def test_a_move_before_the_second_search_costs_a_search(
    model: ModelSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once the cores are back where they were near, the plan is kept and nothing is said."""
    distances(monkeypatch, chain([NEAR, FAR], repeat(NEAR)))
    plan = loaded(model)
    assert kept(model) == [f"{plan}\n"]
    assert "moved" not in caplog.text


def test_what_is_in_doubt_is_not_pinned(
    model: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tune` shows the figures, leaves config.pbtxt as it is, and says why in one line."""
    distances(monkeypatch, chain([NEAR], repeat(FAR)))
    before = (model.folder / "config.pbtxt").read_text()
    shown = tune(model.folder.parent, "simple", ON_CPU, pin=True)
    lines = [next(shown)]
    with pytest.raises(LoadError, match=r"nothing is pinned: a host moved the cores .*220 ns"):
        lines += shown
    assert lines[0] == "simple on 2 cores"
    assert (model.folder / "config.pbtxt").read_text() == before
