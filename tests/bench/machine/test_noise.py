"""What a result says of its machine: noise, containers, instructions."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossrun_bench import cli, store
from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine, noise
from crossrun_bench.machine.container import container
from crossrun_bench.machine.noise import LIMIT, Usage
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.latency.summary import latency_rows
from crossrun_bench.report import html, markdown, terminal
from crossrun_bench.report.chapters import chapters
from tests.support.results import latency
from tests.support.running import Command

# Two cores for ten seconds, of which we use eight and others four; half a second is stolen.
BEFORE = Usage(at=100.0, cores=2, busy=50.0, steal=1.0, own=5.0, preempted=10, waiting=3.0)
AFTER = Usage(at=110.0, cores=2, busy=62.0, steal=1.5, own=13.0, preempted=110, waiting=4.0)
QUIET = dataclasses.replace(AFTER, busy=58.2, steal=1.0)
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"


@contextmanager
def busy_process() -> Iterator[None]:
    """Another process that wants a core."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            yield
        finally:
            process.kill()


def measured(after: Usage) -> LatencyResult:
    result = latency()
    on = dataclasses.replace(result.machine, usage_before=BEFORE, usage_after=after)
    return dataclasses.replace(result, machine=on)


def test_noise_is_what_others_used_and_what_was_stolen() -> None:
    """Shares of the time of all our cores; what we used ourselves is none."""
    found = noise.between(BEFORE, AFTER)
    assert found is not None
    assert (found.others, found.steal, found.total) == pytest.approx((0.2, 0.025, 0.225))
    assert (found.waiting, found.preempted) == pytest.approx((0.1, 10.0))
    assert found.loud


def test_our_own_work_is_no_noise() -> None:
    """One per cent of others is quiet, however busy we were."""
    found = noise.between(BEFORE, QUIET)
    assert found is not None
    assert 0 < found.total < LIMIT
    assert not found.loud


def test_a_process_of_ours_that_ended_is_no_other() -> None:
    """What measured processes used is our own, so that no measurement calls itself noise."""
    before = noise.usage()
    subprocess.run([sys.executable, "-c", "sum(range(30_000_000))"], check=True)
    after = noise.usage()
    assert before is not None
    assert after is not None
    assert after.own - before.own > 0.1


def test_a_busy_machine_is_refused_before_anything_is_measured(
    colours: Path, tmp_path: Path, run: Command
) -> None:
    """One line that tells how busy, exit status 1, and no results."""
    out = tmp_path / "r.json"
    options = ["--model", "colours", "--targets", "onnxruntime", "--batch", "1", "--rounds", "1"]
    with busy_process():
        done = run(
            "crossrun-bench", "latency", colours, *options, "--require-quiet", "--output", out
        )
    assert done.returncode == 1
    assert "others used" in done.stderr
    assert "before this began" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_what_was_measured_beside_others_is_kept_and_marked(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise that begins later fails the command, which tells where the results are."""
    monkeypatch.setattr(noise, "expect_quiet", lambda: None)
    out = tmp_path / "r.json"
    command = ["latency", str(colours), "--model", "colours", "--targets", "onnxruntime"]
    command += ["--batch", "1", "--rounds", "1", "--require-quiet", "--output", str(out)]
    with busy_process():
        done = CliRunner().invoke(cli.app, command)
    assert isinstance(done.exception, BenchError)
    assert "while this measured" in str(done.exception)
    assert str(out) in str(done.exception)
    assert "Warning: Latency was measured on a noisy machine" in done.stdout
    assert "a noisy machine" in markdown.render(chapters([store.read(out)]))


def test_a_server_that_runs_already_cannot_be_told_from_noise(colours: Path, run: Command) -> None:
    """Load on a foreign server and a demand for quiet exclude each other."""
    options = ["--model", "colours", "--server", "other=127.0.0.1:1", "--require-quiet"]
    done = run("crossrun-bench", "load", colours, *options)
    assert done.returncode == 1
    assert "--require-quiet: a --server" in done.stderr


def test_a_noisy_machine_is_said_aloud_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the figures stands how much others used, on the terminal, as Markdown, on the page."""
    said = "Latency was measured on a noisy machine: others used 20 % of the cores, 2 % stolen."
    result = measured(AFTER)
    terminal.show(chapters([result]))
    shown = capsys.readouterr().out
    assert shown.startswith(f"Warning: {said}")
    assert markdown.render(chapters([result])).startswith(f"> [!WARNING]\n> {said}")
    assert f'<p class="warning" role="alert">{said}' in html.render(chapters([result]))


def test_many_warnings_stand_each_above_its_table() -> None:
    """Before all stands one for all of them, so that the figures can be seen."""
    said = "Latency was measured on a noisy machine: others used 20 % of the cores, 2 % stolen."
    shown = chapters([measured(AFTER)] * 4 + [measured(QUIET)])
    first, *_ = text = markdown.render(shown).split("\n\n")
    tables = sum(len(chapter.tables) for chapter in shown)
    assert first == (
        f"> [!WARNING]\n> 4 of {tables} tables have a warning above them. Doubt their figures."
    )
    for place, part in enumerate(text):
        if said in part:
            assert text[place + 1].startswith("### Latency of")
    assert sum(said in part for part in text) == 4
    page = html.render(shown)
    assert page.index(f"4 of {tables} tables") < page.index('<dl class="headlines">')
    assert page.count(f'<p class="warning" role="alert">{said}') == 4


def test_a_quiet_machine_needs_no_warning() -> None:
    """The share stands in the table of the machine, and nothing else is said of it."""
    text = markdown.render(chapters([measured(QUIET)]))
    assert "noisy" not in text
    assert "| Others used | 1 % of the cores, 0 % stolen |" in text


def test_a_result_from_before_noise_was_measured_is_read(tmp_path: Path) -> None:
    """What an older version did not write is not known, and not called quiet."""
    document = store.to_document(latency())
    for name in ("flags", "memory_available_bytes", "container", "usage_before", "usage_after"):
        del document["machine"][name]
    (tmp_path / "r.json").write_text(json.dumps(document))
    read = store.read(tmp_path / "r.json")
    assert read.machine.noise is None
    assert "| Others used | – |" in markdown.render(chapters([read]))  # noqa: RUF001
    with pytest.raises(BenchError, match="only Linux tells"):
        noise.refuse(read.machine.noise, "now")


def test_a_machine_knows_itself() -> None:
    """Memory, container and instructions are there; what is available is part of what there is."""
    found = machine.finished(machine.describe())
    assert found.memory_available_bytes is not None
    assert 0 < found.memory_available_bytes <= found.memory_bytes
    assert found.container
    assert found.flags is not None
    assert found.noise is not None


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        (".dockerenv", "", "docker"),
        ("run/.containerenv", "", "podman"),
        ("run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
        ("run/secrets/kubernetes.io/token", "", "kubernetes"),
        ("proc/self/cgroup", "0::/kubepods.slice/pod1\n", "kubernetes"),
        ("proc/self/cgroup", "1:cpu:/lxc/box\n", "lxc"),
        ("proc/self/cgroup", "0::/user.slice\n", "none"),
    ],
)
def test_a_container_is_known_by_its_marks(
    file: str, text: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that engines leave, and names of control groups."""
    for variable in ("KUBERNETES_SERVICE_HOST", "container"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert container(tmp_path) == kind


def test_slow_requests_are_counted_and_kept() -> None:
    """Requests over three times the median have a column, and stay in the percentiles."""
    result = latency({"onnxruntime": 10.0})
    (target,) = result.targets
    turns = [dataclasses.replace(t, ns=(*t.ns, 400_000_000)) for t in target.turns]
    slow = dataclasses.replace(target, turns=tuple(turns))
    row = latency_rows(dataclasses.replace(result, targets=(slow,)))[0]
    assert (row.outliers, row.requests) == (8, 48)
    assert row.p99 == pytest.approx(400e6)


def test_counters_that_never_move_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox shows zeros for its cores: that is no quiet machine, for nobody knows."""
    monkeypatch.setattr(noise, "_cores", lambda: [[0.0] * 10, [0.0] * 10])
    assert noise.usage() is None
    with pytest.raises(
        BenchError, match=r"--require-quiet: only Linux tells .* and sandboxes do not"
    ):
        noise.expect_quiet()
