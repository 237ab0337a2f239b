"""Throughput for real: a model that is tiny, a provider that is here and one that is not."""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from crossrun_bench import store
from crossrun_bench.machine import machine
from crossrun_bench.measurements.tasks import OnProvider
from crossrun_bench.measurements.throughput import measure as throughput
from crossrun_bench.measurements.throughput import process as onprovider
from crossrun_bench.measurements.throughput import served as served_turns
from crossrun_bench.measurements.throughput.result import (
    AloneTurn,
    ProviderThroughput,
    ServedTurn,
    ThroughputResult,
)
from crossrun_bench.measurements.throughput.summary import throughput_rows
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.models.repository import read_model
from crossrun_bench.processes.serving import Server
from crossrun_bench.providers import CPU
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters
from crossrun_bench.view.figures import NONE
from tests.support.running import Command

MACHINE = dataclasses.replace(machine.describe(), cores=4.0)
INFO = ModelInfo("m", "1", "0" * 64, {"model": "tiny"}, 8, 8, 3)
S = 10**9


def alone(way: str, per_second: float, batch: int = 8) -> AloneTurn:
    return AloneTurn(way, batch, 1, 4, 1, (int(S * batch / per_second),) * 3)


def served(per_second: float, generator: float = 0.1, server: float = 0.5) -> ServedTurn:
    """A turn of a second; of both processes the cores that they kept busy."""
    cpu = int(generator * S), int(server * S)
    return ServedTurn(8, 8, 1, S, int(per_second / 8), {}, *cpu, S, 1600, 100)


def result(*turns: ServedTurn, provider: str = "cuda") -> ThroughputResult:
    """A card that gives 8,000 rows a second as graph, and a provider that is missing."""
    ways = (alone("plain", 4000), alone("bound", 6000), alone("graph", 8000), alone("plain", 9, 64))
    found = ProviderThroughput(provider, None, 8, ways, turns, ("Batch 64: bound: no memory",))
    gone = ProviderThroughput("abacus", "no beads", 0, (), (), ())
    command = "crossrun-bench throughput models"
    return ThroughputResult(command, MACHINE, ("A card, 1.2",), INFO, (found, gone))


def test_throughput_in_process_and_served(
    colours: Path, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From command to report: what is not here says what it lacks, and the rest is measured."""
    monkeypatch.setattr(throughput, "core_to_core", lambda: 70)
    monkeypatch.setattr(served_turns, "core_to_core", lambda: 80)
    out, page = tmp_path / "t.json", tmp_path / "t.html"
    options = ["--providers", "cuda,cpu", "--batch", "1,3,8", "--rounds", 1]
    options += ["--seconds", 0.02, "--output", out]
    done = run("crossrun-bench", "throughput", colours, "--model", "colours", *options)
    assert done.returncode == 0, done.stderr
    found = store.read(out)
    assert isinstance(found, ThroughputResult)
    cuda, cpu = found.providers
    assert cuda.missing
    assert cuda.missing.startswith("no execution provider 'cuda' here, but ")
    assert "an environment with the extra [gpu] of crossrun-inference" in cuda.missing
    assert (cpu.missing, cpu.max_batch_size, cpu.failures) == (None, 4, ())
    assert [(t.batch, t.round) for t in cpu.served] == [(1, 1), (3, 1)]
    assert {t.batch for t in cpu.alone} == {1, 3, 8}
    assert {t.core_to_core_ns for t in cpu.alone} == {70}
    assert {t.core_to_core_ns for t in cpu.served} == {80}
    for turn in cpu.served:
        assert turn.answered
        assert not turn.errors
        assert turn.server_cpu_ns > 0
        assert turn.executed_rows >= turn.batch * turn.answered
    shown = run("crossrun-bench", "report", out, "--output", page)
    assert shown.returncode == 0, shown.stderr
    assert "cuda cannot be measured here: no execution provider" in " ".join(shown.stdout.split())
    assert "Rows a run" in page.read_text()


@pytest.mark.parametrize(
    ("turn", "provider", "limit"),
    [
        (served(7600), "cuda", "the session"),
        (served(4000, generator=0.95), "cuda", "the generator"),
        (served(4000, server=1.1), "cuda", "the server's process"),
        (served(4000, server=1.1), "cpu", "the session, or the way to it"),
        (served(4000, generator=0.5, server=3.3), "cpu", "the cores"),
        (served(4000), "cuda", "the session, or the way to it"),
    ],
)
def test_what_limits_a_server_follows_from_what_was_used(
    turn: ServedTurn, provider: str, limit: str
) -> None:
    """The session where nearly all is served; else the first that was used up."""
    row, _ = throughput_rows(result(turn, provider=provider))
    assert row.limit == limit


def test_rates_are_rows_and_shares_are_of_the_best_in_process() -> None:
    """A batch that was not served has rates in process only."""
    row, large = throughput_rows(result(served(4000), served(6000)))
    assert (row.plain, row.bound, row.graph) == pytest.approx((4000, 6000, 8000))
    assert row.served == pytest.approx(5000)
    assert row.share == pytest.approx(5 / 8)
    assert row.rows_a_run == pytest.approx(16)
    assert (row.generator, row.server) == pytest.approx((0.1 / 4, 0.5 / 4))
    assert (large.batch, large.served, large.share, large.limit) == (64, None, None, None)


@pytest.mark.parametrize(("far", "told"), [(460, True), (260, False), (None, False)])
def test_a_host_that_moves_the_cores_is_a_warning(far: int | None, told: bool) -> None:
    """Above the table, from the turns in process and served; the machine's table has the median."""
    turns = [
        dataclasses.replace(served(4000), core_to_core_ns=ns) for ns in 6 * (220,) + 4 * (far,)
    ]
    chapter = markdown.render(chapters([result(*turns)]))
    assert ("a byte took 220 ns in some turns and 460 in others" in chapter) == told
    moved = [dataclasses.replace(alone("plain", 4000), core_to_core_ns=ns) for ns in (220, far)]
    before = result()
    ran = dataclasses.replace(before.providers[0], alone=tuple(moved))
    chapter = markdown.render(chapters([dataclasses.replace(before, providers=(ran,))]))
    assert ("Throughput was measured while a host moved our cores" in chapter) == told
    assert "| Core to core and back | " in chapter


def test_what_is_written_is_what_is_read_and_shown(tmp_path: Path) -> None:
    """A result survives its file, and every form of the report tells what failed and on what."""
    store.write(tmp_path / "t.json", result(served(4000)))
    read = store.read(tmp_path / "t.json")
    assert read == result(served(4000))
    for text in (markdown.render(chapters([read])), html.render(chapters([read]))):
        assert "4,000" in text
        assert "rows a second through the server" in text
        assert "abacus cannot be measured here: no beads." in text
        assert "cuda: Batch 64: bound: no memory" in text
        assert "Graphics cards and drivers: A card, 1.2." in text
    assert f"| cuda | 64 | 9.0 | {NONE} | {NONE} | {NONE} |" in markdown.render(chapters([read]))


@pytest.mark.parametrize("way", ["plain", "bound", "graph"])
def test_each_way_gives_the_same_answers(way: str, colours: Path) -> None:
    """Buffers of the CPU in the place of a card's, in two sizes, one after the other."""
    model = read_model(colours, "colours")
    session = onnxruntime.InferenceSession(model.onnx, providers=[CPU.name])
    task = OnProvider(model, CPU, "", way, 1, 1)
    for rows in (2, 3):
        pixels = np.random.default_rng(rows).integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8)
        call = onprovider.calling(session, task, pixels, device="cpu")
        for _ in range(2):
            np.testing.assert_allclose(call(), pixels.mean((1, 2)) / 255, rtol=1e-5)


def test_what_fails_is_told_and_left_out(colours: Path, tmp_path: Path) -> None:
    """A process that dies at one size ends nothing but its own turns."""
    task = OnProvider(read_model(colours, "colours"), CPU, str(tmp_path / "no.npy"), "plain", 1, 1)
    plan = throughput.ThroughputPlan(colours, "colours", ["cpu"], [1, 2], 2, 0.01, {})
    with throughput._told(task) as child:
        found = throughput._Measured(plan, tmp_path, Server("", 0, 0), [(task, child)], 4)
        for batch in plan.batches:
            throughput._batch(found, batch)
    (failure,) = found.failures
    assert failure.startswith("Batch 1: plain 1x1: FileNotFoundError")
    assert (found.alone, found.served, found.children) == ([], [], [])


def test_a_card_is_named_as_nvidia_smi_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its driver; none where there is no such command, or it fails."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert throughput._cards() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'A card, 1.2'\n")
    tool.chmod(0o755)
    assert throughput._cards() == ("A card, 1.2",)
    tool.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert throughput._cards() == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "nothing"], "no model 'nothing'; it holds colours"),
        (["--model", "colours", "--providers", ","], "--providers '': expected some"),
        (["--model", "colours", "--batch", "0"], "--batch '0': expected whole numbers from 1"),
    ],
)
def test_a_mistyped_option_is_one_line(
    colours: Path, run: Command, options: list[str], said: str
) -> None:
    """What was wrong and what was expected, before anything is started."""
    done = run("crossrun-bench", "throughput", colours, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
