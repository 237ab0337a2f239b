"""Load on what is no server of the Open Inference Protocol: runtimes, TensorFlow Serving."""

import threading
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import grpc
import pytest

from crossrun_bench import store
from crossrun_bench.machine import machine
from crossrun_bench.measurements.load import slo
from crossrun_bench.measurements.load.generator.runtime import InTurn
from crossrun_bench.measurements.load.measure import measure
from crossrun_bench.measurements.load.plan import LoadPlan
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn, Objective
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.report import markdown
from crossrun_bench.report.chapters import chapters
from tests.support import fakes
from tests.support.running import Command
from tests.support.tfserving import predict, signature, tensorflow_serving

INFO = ModelInfo("m", "1", "0" * 64, {"model": "tiny"}, 8, 8, 3)
TURN = LoadTurn(4, 1, 10**9, (10_000,) * 400, {}, 0, 10**9, 400, 10**8)


def test_runtimes_and_tensorflow_serving_under_every_load(
    colours: Path, request_: Request, tmp_path: Path, run: Command
) -> None:
    """The same loads as for our server, all answered; a runtime tells of its queue and compute."""
    out = tmp_path / "l.json"
    options = ["--targets", "onnxruntime,openvino", "--clients", "1,3", "--rate", 50]
    options += ["--rounds", 1, "--seconds", 0.1, "--output", out]
    methods = signature(("DT_FLOAT", [-1, 8, 8, 3])), predict(request_.model, "DT_FLOAT", False)
    with tensorflow_serving(*methods) as address:
        options += ["--server", f"tf=tfserving://{address}"]
        done = run("crossrun-bench", "load", colours, "--model", "colours", *options)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LoadResult)
    names = ["ONNX Runtime", "OpenVINO", "crossrun", "tf"]
    found = [target for target in result.targets if not target.in_process]
    assert [target.target for target in found] == names
    for target in found:
        assert [(turn.clients, turn.rate) for turn in target.turns] == [
            (1, None),
            (3, None),
            (0, 50),
        ]
        assert all(turn.us and not turn.errors for turn in target.turns)
    for turn in (turn for target in found if target.runtime for turn in target.turns):
        inside = zip(turn.us, turn.queue_us, turn.compute_us, strict=True)
        assert all(us >= queue + compute - 2 > -2 for us, queue, compute in inside)
        assert turn.rss_bytes
        assert turn.served <= len(turn.us)


def test_who_waits_for_a_runtime_is_answered_in_turn() -> None:
    """He who has just had it is behind those who wait, and never two have it at once."""
    turn, order, left = InTurn(), list[str](), dict.fromkeys("abc", 3)

    def until_there(count: int) -> None:
        while len(turn._queue) < count:
            time.sleep(0.001)

    def caller(name: str) -> None:
        while left[name]:
            with turn:
                until_there(sum(map(bool, left.values())))
                order.append(name)
                left[name] -= 1

    threads = [threading.Thread(target=caller, args=(name,)) for name in "abc"]
    with turn:
        for there, thread in enumerate(threads, 2):
            thread.start()
            until_there(there)
    for thread in threads:
        thread.join()
    assert order == list("abc") * 3


def test_a_runtime_is_shown_without_a_generator() -> None:
    """Its callers are its own, which the report says; and which of them have to wait."""
    targets = (
        LoadTarget("in process 1x2", True, (TURN,)),
        LoadTarget("LiteRT", False, (TURN,), runtime=True),
        LoadTarget("ONNX Runtime", False, (TURN,), runtime=True),
    )
    result = LoadResult("crossrun-bench load", machine.describe(), INFO, False, targets)
    text = markdown.render(chapters([result]))
    assert "in a process that asks itself: LiteRT, ONNX Runtime." in text
    assert "One call at a time, first come, first served: LiteRT." in text
    row = next(line for line in text.splitlines() if line.startswith("| LiteRT | 4 |"))
    assert row.split(" | ")[8] == "\N{EN DASH}"


def test_a_target_that_is_no_runtime_is_refused(colours: Path, run: Command) -> None:
    """With those there are, before anything is started."""
    done = run("crossrun-bench", "load", colours, "--model", "colours", "--targets", "grpc-raw")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "crossrun-bench: --targets 'grpc-raw': expected some of keras-predict, tf-function"
    )
    assert done.stderr.count("\n") == 1


def test_searches_of_several_servers_take_turns(
    colours: Path, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe of one, then of the other; what nothing holds is looked for, and has no rate."""
    monkeypatch.setattr(slo, "LOWEST", 1 / 2)
    asked = list[str]()

    def answer(name: str) -> fakes.Answer:
        def answered(_: bytes, __: grpc.ServicerContext) -> bytes:
            asked.append(name)
            return fakes.right(request_)

        return answered

    with fakes.fake(answer("a")) as a, fakes.fake(answer("b")) as b:
        plan = LoadPlan(colours, "colours", (1,), rounds=1, seconds=0.05, servers={"a": a, "b": b})
        result = measure(replace(plan, objective=Objective(50.0, 1.0)), "cmd")
    probes = sum(turn.probe for target in result.targets[-2:] for turn in target.turns)
    assert probes == 2 * 4
    assert len(list(groupby(asked))) == probes + 2
    text = markdown.render(chapters([result]))
    assert "### Highest rate with p50 ≤ 0.001 ms" in text
    assert "| a | \N{EN DASH} |" in text


def test_a_longer_search_goes_on_alone() -> None:
    """One that has found its rate leaves the others to theirs."""
    searches = {"a": iter([TURN] * 3), "b": iter([TURN])}
    assert [name for name, _ in slo.interleaved(searches)] == ["a", "b", "a", "a"]
