"""How far apart a host has put our cores: measured, told, and held apart when results compare."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from crossrun_bench.compare.command import Compared, compare
from crossrun_bench.errors import BenchError
from crossrun_bench.machine import placement
from crossrun_bench.machine.core_to_core import core_to_core
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.report import comparison, html, markdown
from crossrun_bench.report.chapters import chapters
from tests.support.measured import latency

NEAR, FAR = 220, 460  # nanoseconds
several = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")


@several
def test_a_byte_takes_some_time_from_core_to_core() -> None:
    """Where a core is free within twenty tries; our own threads stay where they may run."""
    ours = os.sched_getaffinity(0)
    trip = next((ns for ns in (core_to_core() for _ in range(20)) if ns is not None), None)
    if trip is None:
        pytest.skip("others hold the cores")
    assert 20 < trip < 1_000_000
    assert os.sched_getaffinity(0) == ours


def test_one_core_has_no_other() -> None:
    """Then there is nothing to measure."""
    code = "import os; from crossrun_bench.machine.core_to_core import core_to_core as c\n"
    code += "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(c())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def placed(seed: int, trips: Sequence[int | None], slow: float = 1.5) -> LatencyResult:
    """Ten rounds at these distances; the far ones take so many times as long."""
    result = latency(seed)
    (target,) = result.targets

    def moved(turn: Turn, trip: int | None) -> Turn:
        factor = slow if trip == FAR else 1
        ns = tuple(int(one * factor) for one in turn.ns)
        return dataclasses.replace(turn, ns=ns, core_to_core_ns=trip)

    turns = tuple(map(moved, target.turns, trips))
    return dataclasses.replace(result, targets=(dataclasses.replace(target, turns=turns),))


def between(before: LatencyResult, after: LatencyResult) -> Compared:
    return compare(before, after, apart=1, allow_unlike=False)


def test_only_rounds_of_one_placement_are_compared() -> None:
    """What ran with the cores far apart is left out, and the warnings say how much that was."""
    before, after = placed(1, [NEAR] * 10), placed(2, [FAR] * 4 + [NEAR + 20] * 6)
    found = between(before, after)
    assert {change.verdict for change in found.changes} == {"within noise"}
    told = "compared are 10 of 10 rounds of A and 6 of 10 rounds of B"
    (changes, *_) = comparison.tables(found, {}, ("a", "b"))
    assert any(told in warning for warning in changes.warnings)


def test_the_same_placement_needs_no_word() -> None:
    """All rounds are compared, far ones with far ones."""
    found = between(placed(1, [FAR] * 10), placed(2, [FAR + 30] * 10))
    assert found.left_out is None
    assert found.changes[0].before == pytest.approx(7.5, rel=0.1)


def test_too_few_alike_give_no_verdict() -> None:
    """Four rounds are no five."""
    found = between(placed(1, [NEAR] * 10), placed(2, [FAR] * 6 + [NEAR] * 4))
    assert {change.verdict for change in found.changes} == {"too few rounds"}


def test_placements_that_never_meet_are_refused() -> None:
    """In one sentence; where a file does not tell, all of it is compared."""
    with pytest.raises(BenchError, match="a host had put the cores elsewhere in all rounds"):
        between(placed(1, [NEAR] * 10), placed(2, [FAR] * 10))
    untold = between(placed(1, [NEAR] * 10), placed(2, [None] * 10))
    assert untold.left_out is None
    assert len(untold.changes) == 4


def test_a_host_that_moves_the_cores_is_a_warning() -> None:
    """Above the figures of every form; neither an odd turn nor nothing known is one."""
    moved = placed(1, [NEAR] * 6 + [FAR] * 4)
    told = "a byte took 220 ns in some turns and 460 in others"
    assert told in markdown.render(chapters([moved]))
    assert told in html.render(chapters([moved]))
    for quiet in (placed(1, [NEAR] * 9 + [FAR]), placed(1, [None] * 10)):
        assert "moved our cores" not in markdown.render(chapters([quiet]))
    assert "| Core to core and back | 220 ns (220–460) |" in markdown.render(chapters([moved]))  # noqa: RUF001
    assert "| Core to core and back | – |" in markdown.render(chapters([latency(1)]))  # noqa: RUF001


def test_near_is_symmetric() -> None:
    """Half as much again is still near."""
    assert placement.near(200, 300)
    assert placement.near(300, 200)
    assert not placement.near(200, 301)
