"""Studies: a file of steps, run to its report, gone on with where it was ended."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from crossrun_bench import store, suite
from crossrun_bench.cli.app import check
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.result import Result
from tests.support.running import BIN, Command, run_here

LATENCY = """
[[step]]
run = "latency"
model = "colours"
batch = "1"
rounds = 1
targets = "onnxruntime"
"""
LATER = LATENCY.replace('batch = "1"', 'batch = "2"')


@pytest.fixture
def study(tmp_path: Path, colours: Path) -> Path:
    """The folder of a study whose models are there already."""
    shutil.copytree(colours, tmp_path / "study" / "models")
    return tmp_path / "study"


def latencies(found: list[Result]) -> list[LatencyResult]:
    assert all(isinstance(result, LatencyResult) for result in found)
    return [result for result in found if isinstance(result, LatencyResult)]


def written(folder: Path, text: str) -> Path:
    file = folder / "two.toml"
    file.write_text(text)
    return file


def ran(file: Path, study: Path) -> subprocess.CompletedProcess[str]:
    """A suite's run in this process; what its steps write to stderr is not seen."""
    return run_here([str(BIN / "crossrun-bench"), "run", str(file), "--output", str(study)])


def test_a_study_goes_on_where_it_was_ended(tmp_path: Path, study: Path) -> None:
    """Steps with a result are not run again; the study holds all results and the suite."""
    text = LATENCY + LATER
    file = written(tmp_path, text)
    done = ran(file, study)
    assert done.returncode == 0, done.stderr
    first = (study / "01-latency.json").read_bytes()
    (study / "02-latency.json").unlink()
    again = ran(file, study)
    assert again.returncode == 0, again.stderr
    assert (study / "01-latency.json").read_bytes() == first
    found = store.read_all(study / "study.json")
    assert [[turn.batch for turn in r.targets[0].turns] for r in latencies(found)] == [
        [1, 1],
        [2, 2],
    ]
    assert json.loads((study / "study.json").read_text())["suite"] == text
    assert "Latency of colours" in (study / "report.md").read_text()
    assert "<h2>Latency of colours" in (study / "report.html").read_text()


def test_a_study_begins_with_the_export(
    tmp_path: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the repository that the next steps measure, with its options; and only once."""
    beside = tmp_path / "bin"
    beside.mkdir()
    monkeypatch.setattr(suite, "sibling", lambda command, _: str(beside / command))
    (beside / "crossrun-bench").symlink_to(BIN / "crossrun-bench")
    (beside / "crossrun-export").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/exported; cp -r {colours} "$5"\n'
    )
    (beside / "crossrun-export").chmod(0o755)
    export = '[[step]]\nrun = "export mobilenet"\nalpha = 0.25\n'
    file, folder = written(tmp_path, export + LATENCY), tmp_path / "study"
    for _ in range(2):
        found = suite.run(suite.read(str(file), folder), "crossrun-bench run", check)
    assert [type(result) for result in found] == [LatencyResult]
    told = f"mobilenet --alpha 0.25 --output {folder}/models\n"
    assert (tmp_path / "exported").read_text() == told


def test_a_step_that_fails_ends_the_study(tmp_path: Path, study: Path, run: Command) -> None:
    """With its own words and the step's name; results before it are kept."""
    file = written(tmp_path, LATENCY + LATER.replace("colours", "nothing"))
    done = run("crossrun-bench", "run", file, "--output", study)
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert done.stderr.endswith(
        "latency ended with status 1; run the suite again to go on from there\n"
    )
    assert (study / "01-latency.json").exists()
    assert not (study / "study.json").exists()


def test_results_of_two_suites_do_not_mix(tmp_path: Path, study: Path) -> None:
    """A suite that was changed wants another folder, for its results are not those there."""
    assert ran(written(tmp_path, LATENCY), study).returncode == 0
    done = ran(written(tmp_path, LATENCY + LATER), study)
    assert done.returncode == 1
    assert "holds results of another suite" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no [[step]]"),
        ("[[step]", "is no TOML"),
        ('[[step]]\nmodel = "m"', 'step 1: expected run = "latency"'),
        ('[[step]]\nrun = "latency"\nbatch = {a = 1}', "step 1: batch is {'a': 1}, expected text"),
        ('[[step]]\nrun = "latency"\nbatch = false', "step 1: batch is False, expected text"),
        ('[[step]]\nrun = "load"\nmodel = "$NOWHERE"', "needs the environment variable 'NOWHERE'"),
    ],
)
def test_what_is_no_suite_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    """The error names the file, the step, and what was expected."""
    with pytest.raises(BenchError) as caught:
        suite.read(str(written(tmp_path, text)), tmp_path)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ('run = "latencies"', "no command 'latencies': expected one of latency"),
        ('run = "latency"\nbatches = "1"', "latency: No such option: --batches"),
        ('run = "load"\nmodel = "m"\nrounds = 0', "load: Invalid value"),
    ],
)
def test_a_wrong_step_ends_the_run_before_it_begins(
    step: str, expected: str, tmp_path: Path, study: Path
) -> None:
    """However far behind the first step it is."""
    done = ran(written(tmp_path, f"{LATENCY}[[step]]\n{step}"), study)
    assert done.returncode == 1
    assert expected in done.stderr
    assert not (study / "01-latency.json").exists()


def test_options_take_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a suite can name photographs that lie elsewhere on each machine."""
    monkeypatch.setenv("IMAGES", "/photos")
    text = '[[step]]\nrun = "accuracy"\nimages = "$IMAGES"\nlogs = ["$STUDY/a", 1]'
    (step,) = suite.read(str(written(tmp_path, text)), Path("s")).steps
    assert step.options == ("--images", "/photos", "--logs", "s/a", "--logs", "1")


def test_the_suites_that_come_along_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step of them is a command of this version, with options that it has."""
    monkeypatch.setenv("IMAGES", "bundled")
    for name in ("quick", "readme", "full"):
        for step in suite.read(name, tmp_path).steps:
            if not step.exports:
                check(["crossrun-bench", *step.run, "models", *step.options])


def test_an_unknown_suite_is_answered_with_those_there_are() -> None:
    """A name that is no file either."""
    with pytest.raises(BenchError, match=r"expected a file, or one of .*quick"):
        suite.read("nothing", Path())
