"""Conditions on what changed, and the real command as a gate."""

from pathlib import Path

import pytest

from crossrun_bench import store
from crossrun_bench.compare.verdicts import condition
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.result import Result
from crossrun_bench.report import comparison
from tests.support.measured import compared, latency, load, on
from tests.support.running import Command


@pytest.mark.parametrize(
    ("text", "target", "metric", "limit"),
    [
        ("p99 > +5%", None, "p99", 5.0),
        ("p50>+2.5%", None, "p50", 2.5),
        ("throughput < -5 %", None, "throughput", -5.0),
        ("top1 < -0.5 points", None, "top1", -0.5),
        ("agreement < -1 point", None, "agreement", -1.0),
        ("mlserver 1x2: p90 > +5%", "mlserver 1x2", "p90", 5.0),
    ],
)
def test_a_condition_is_read(text: str, target: str | None, metric: str, limit: float) -> None:
    """A metric, a limit in its unit, and perhaps a target."""
    found = condition(text)
    assert (found.target, found.metric.name, found.limit) == (target, metric, limit)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"expected \[TARGET:\] METRIC > \+N%"),
        ("p99", r"expected \[TARGET:\] METRIC > \+N%"),
        ("p95 > +5%", "unknown metric 'p95', expected one of p50, p90, p99, throughput, top1"),
        ("p99 < -5%", "p99 gets worse as 'p99 >"),
        ("throughput > +5%", "throughput gets worse as 'throughput <"),
        ("p99 > 5%", r"expected a limit such as \+5, got '5'"),
        ("p99 > +%", r"expected a limit such as \+5, got '\+'"),
        ("throughput < +5%", "expected a limit such as -5"),
        ("p99 > +5 points", "expected the limit of p99 in %"),
        ("top1 < -1%", "expected the limit of top1 in points"),
        ("p99 > +5", "expected the limit of p99 in %"),
    ],
)
def test_a_mistyped_condition_says_what_was_expected(text: str, expected: str) -> None:
    """Each mistake has its own words."""
    with pytest.raises(ValueError, match=expected):
        condition(text)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Results: the first, a repetition, one 20 % slower, another machine's, a damaged one."""
    found = {name: tmp_path / f"{name}.json" for name in ("a", "same", "slow", "far", "broken")}
    store.write(found["a"], latency(1))
    store.write(found["same"], latency(2))
    store.write(found["slow"], latency(3, 1.2))
    store.write(found["far"], on(cpu="Another CPU")(latency(2)))
    found["broken"].write_text(found["a"].read_text()[:1000])
    return found


@pytest.mark.parametrize(
    ("after", "text", "fails"),
    [
        (latency(3, 1.2), "p50 > +5%", True),
        (latency(3, 1.2), "throughput < -5%", True),
        (latency(3, 1.2), "onnxruntime: p50 > +5%", True),
        (latency(3, 1.2), "p50 > +90%", False),  # slower, but not by so much
        (latency(4), "p50 > +1%", False),  # over the limit by 0.4, which is noise
        (latency(3, 0.5), "p50 > +0%", False),  # faster
        (latency(3, 0.5), "throughput < -0%", False),
    ],
)
def test_a_condition_is_broken_by_what_is_over_its_limit_and_no_noise(
    after: Result, text: str, fails: bool
) -> None:
    """Both are needed, and a change for the better breaks nothing."""
    assert bool(compared(latency(1), after).broken(condition(text))) is fails


def test_a_condition_on_a_target_that_is_not_there_is_an_error() -> None:
    """A mistyped target would never fail."""
    with pytest.raises(BenchError, match="these results hold nothing like it"):
        compared(latency(1), latency(2)).broken(condition("grpc-raw: p50 > +5%"))


@pytest.mark.parametrize(
    ("after", "condition", "status"),
    [
        ("slow", "p50 > +5%", 1),
        ("same", "p50 > +5%", 0),
        ("slow", "p50 > 5%", 2),
        ("far", "p50 > +5%", 1),
        ("broken", "p50 > +5%", 1),
    ],
)
def test_the_exit_status_is_a_gate(
    after: str, condition: str, status: int, files: dict[str, Path], run: Command
) -> None:
    """0 where the condition holds, 1 where it is broken or cannot be judged, 2 for mistyping."""
    done = run("crossrun-bench", "compare", files["a"], files[after], "--fail-if", condition)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_shown_can_be_pasted_into_a_pull_request(
    files: dict[str, Path], run: Command, tmp_path: Path
) -> None:
    """As a table, as Markdown in a file, and as Markdown alone on stdout."""
    command = ["compare", files["a"], files["slow"], "--fail-if", "p50 > +5%", "--markdown"]
    shown = run("crossrun-bench", *command, tmp_path / "c.md")
    assert "slower" in shown.stdout
    text = (tmp_path / "c.md").read_text()
    assert "| ONNX Runtime | batch 1 | p50 |" in text
    assert "| p50 > +5% | broken | ONNX Runtime, batch 1: +" in text
    assert run("crossrun-bench", *command, "-").stdout == text


def test_what_was_allowed_stands_above_the_figures(files: dict[str, Path], run: Command) -> None:
    """Unlike machines are a warning that names the difference."""
    done = run("crossrun-bench", "compare", files["a"], files["far"], "--allow-unlike")
    assert done.returncode == 0
    assert done.stdout.startswith("Warning: Not alike, as --allow-unlike allows: CPU:")


def test_errors_of_a_server_are_a_warning() -> None:
    """A server that refuses requests is not called faster without a word."""
    (changes, *_) = comparison.tables(compared(load(1), load(2, errors=3)), {}, ("a", "b"))
    said = "B: Requests that ended in an error, and are in no figure: 15 of crossrun."
    assert said in changes.warnings
