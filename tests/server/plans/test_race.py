"""Which of several runs answers soonest, and when a difference is none."""

import time
from collections.abc import Sequence

import pytest

from crossrun_server.plans import core_distance, race
from crossrun_server.plans.race import Race

TEN = 10 * (1.0,)


def winner(**turns: Sequence[float]) -> str:
    return Race(turns, (), 0.0).winner


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        # Sooner in every round.
        ({"cpu": TEN, "other": 10 * (0.8,)}, "other"),
        ({"cpu": TEN, "other": 10 * (1.2,)}, "cpu"),
        # By less than a twentieth.
        ({"cpu": TEN, "other": 10 * (0.97,)}, "cpu"),
        # By much, but in four rounds of five alone.
        ({"cpu": TEN, "other": 8 * (0.5,) + 2 * (1.1,)}, "cpu"),
        # A slow minute falls on both in one round, so it decides nothing.
        ({"cpu": (1.0, 9.0, 1.0, 1.0, 1.0), "other": (0.8, 7.0, 0.8, 0.8, 0.8)}, "other"),
        # Two that beat the first and are as good as each other: the first of them.
        ({"cpu": TEN, "a": 10 * (0.52,), "b": 10 * (0.51,)}, "a"),
        ({"cpu": TEN, "a": 10 * (0.7,), "b": 10 * (0.5,)}, "b"),
        ({"only": (2.0,)}, "only"),
    ],
)  # fmt: skip
def test_who_wins_is_sooner_by_more_than_noise(
    turns: dict[str, Sequence[float]], expected: str
) -> None:
    """By a twentieth in the median round, and in nine rounds of ten; otherwise the first one."""
    assert winner(**turns) == expected


def test_turns_are_interleaved_and_the_first_run_of_each_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A B A B …; how far apart the cores are is asked before, between and after the rounds."""
    monkeypatch.setattr(core_distance, "nanoseconds", iter(range(100, 200)).__next__)
    monkeypatch.setattr(race, "MOST", 3)
    monkeypatch.setattr(race, "TURN", 60.0)
    called: list[str] = []

    def run(name: str, seconds: float) -> None:
        first = not called or called[-1] != name
        called.append(name)
        time.sleep(0.1 if first else seconds)

    found = race.run({"slow": lambda: run("slow", 0.03), "fast": lambda: run("fast", 0.002)})
    assert called == 3 * (4 * ["slow"] + 4 * ["fast"])
    assert [len(turns) for turns in found.turns.values()] == [3, 3]
    assert found.trips == (100, 101, 102, 103)
    assert found.seconds("fast") < found.seconds("slow")
    assert found.winner == "fast"


def test_of_what_takes_long_a_turn_is_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the one that does not count."""
    monkeypatch.setattr(core_distance, "nanoseconds", lambda: 100)
    monkeypatch.setattr(race, "TURN", 0.0)
    monkeypatch.setattr(race, "MOST", 2)
    called: list[int] = []
    assert len(race.run({"only": lambda: called.append(1)}).turns["only"]) == 2
    assert len(called) == 2 * 2


def test_where_nothing_is_known_of_the_cores_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On one core, or on a system that does not let a process choose its core."""
    monkeypatch.setattr(core_distance, "nanoseconds", lambda: None)
    monkeypatch.setattr(race, "MOST", 1)
    assert race.run({"only": lambda: None}).trips == ()
