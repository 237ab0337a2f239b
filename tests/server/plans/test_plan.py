"""Plans: how one is written, chosen, kept, told and pinned."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server import cores, disk_cache
from crossrun_server.errors import LoadError
from crossrun_server.models import lanes
from crossrun_server.models.loader import ModelSource, load
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.plans import core_distance, lane_plan, plan_cache, search, spinning
from crossrun_server.plans.lane_plan import LaneSpec, Plan
from crossrun_server.plans.search import Point
from crossrun_server.plans.spinning import Spin
from crossrun_server.runtime import providers
from crossrun_server.runtime.session import Session
from crossrun_server.scheduling.batching import Tensors
from tests.support import models
from tests.support.running import Command, serving

# --- Plans -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cores_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that moves the cores, which would keep plans from being kept, is not seen here."""
    monkeypatch.setattr(core_distance, "nanoseconds", lambda: None)


@pytest.mark.parametrize(
    "text", ["1x2,2x1", "4x1", "1x8,8x1,batch=16", "1x2@0us,2x1", "1x8@100us,2x4@10us,batch=4"]
)
def test_a_plan_is_read_as_it_is_written(text: str) -> None:
    """Lanes as PLACESxTHREADS, the widest first, and the rows of a batch."""
    assert str(lane_plan.parse(text)) == text


def test_the_widest_lane_comes_first() -> None:
    """In whatever order they are written."""
    assert lane_plan.parse("2x1, 1x2").lanes == (LaneSpec(1, 2), LaneSpec(2, 1))


@pytest.mark.parametrize(
    "text", ["", "batch=4", "2", "0x1", "1x0", "2x1;1x2", "1x2,batch=0", "x", "1x2@us", "1x2@5"]
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    """The error says what was written and what was expected."""
    with pytest.raises(LoadError, match="expected auto, or lanes as PLACESxTHREADS") as caught:
        lane_plan.parse(text)
    assert repr(text) in str(caught.value)


# --- The choice ------------------------------------------------------------------------------


def curve(*points: tuple[int, int, float, float]) -> list[Point]:
    return [
        Point(LaneSpec(places, threads), ms / 1e3, rate) for places, threads, ms, rate in points
    ]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        # One request is answered sooner with two threads, many with one each.
        (curve((1, 2, 6.0, 166), (2, 1, 11.3, 176)), "1x2,2x1"),
        # A second thread brings nothing.
        (curve((1, 2, 1.0, 1000), (2, 1, 1.0, 2000)), "2x1"),
        # Narrow lanes get in each other's way.
        (curve((1, 2, 6.0, 166), (2, 1, 20.0, 100)), "1x2"),
        # Four threads are as quick as eight; two are the narrowest that lose nothing.
        (
            curve((1, 8, 5.0, 200), (2, 4, 5.1, 390), (4, 2, 9.0, 440), (8, 1, 20.0, 400)),
            "2x4,4x2",
        ),
    ],
)
def test_the_soonest_answers_and_the_most(points: list[Point], expected: str) -> None:
    """A plan has the lane with the lowest latency and that with the highest rate."""
    assert str(search.choose(points)) == expected


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([(1, 100.0), (4, 103.0), (8, 101.0)], 1),
        ([(1, 100.0), (4, 200.0), (8, 205.0)], 4),
        ([(1, 100.0), (4, 150.0), (8, 220.0)], 8),
        ([], 1),
    ],
)
def test_a_batch_only_where_it_pays(batches: list[tuple[int, float]], expected: int) -> None:
    """The smallest that is as good as the best, if that is better than none."""
    assert search.choose(curve((1, 1, 1.0, 1000)), batches).batch == expected


def test_every_lane_is_measured_on_its_own_session() -> None:
    """All cores, half of them, down to one; then batches of the model's size, and no larger."""
    seen: dict[int, set[int]] = {}

    def open_lane(threads: int, _: int | None) -> Callable[[Tensors, Sequence[str]], Tensors]:
        def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
            seen.setdefault(threads, set()).add(len(inputs["x"]))
            return dict.fromkeys(outputs, inputs["x"])

        return run

    tuned = search.measure_plan(
        open_lane,
        core_count=6,
        durations=(0,),
        inputs={"x": np.zeros((1, 2))},
        outputs=["y"],
        most=8,
    )
    assert [str(point.lane) for point in tuned.curve] == ["1x6", "2x3", "6x1"]
    assert {size for sizes in seen.values() for size in sizes} == {1, 4, 8}
    assert set(seen) == {6, 3, 1}


class Clock:
    """Stands for `time`: each thread has a time of its own, which nothing but `pass_` moves."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._burnt: list[float] = []

    def pass_(self, seconds: float, burnt: float) -> None:
        self._own.now = self.perf_counter() + seconds
        self._burnt.append(burnt)

    def perf_counter(self) -> float:
        return float(getattr(self._own, "now", 0.0))

    def process_time(self) -> float:
        return sum(self._burnt)

    def sleep(self, seconds: float) -> None:
        self.pass_(seconds, 0.0)


def test_lanes_whose_threads_wait_for_each_other_spin_as_long_as_pays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each wide lane is measured with every duration, a lane of one thread with none."""
    asked, clock = set(), Clock()
    monkeypatch.setattr(search, "time", clock)
    monkeypatch.setattr(spinning, "time", clock)

    def open_lane(threads: int, spin: int | None) -> Callable[[Tensors, Sequence[str]], Tensors]:
        # Two threads are sooner, and soonest with 10 us; a longer spin burns more.
        seconds = {1: 0.02, 2: 0.012}[threads] - (0.004 if spin in {10, 1000} else 0)

        def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
            asked.add((threads, spin))
            clock.pass_(seconds, burnt=0.003 if spin == 1000 else 0.001)
            return dict.fromkeys(outputs, inputs["x"])

        return run

    tuned = search.measure_plan(
        open_lane,
        core_count=2,
        durations=(0, 10, 1000),
        inputs={"x": np.zeros((1, 2))},
        outputs=["y"],
        most=0,
    )
    assert str(tuned.plan) == "1x2@10us,2x1"
    assert asked == {(1, None), (2, None), (2, 0), (2, 10), (2, 1000)}
    assert [spin.duration for spin in tuned.spins[LaneSpec(1, 2)]] == [0, 10, 1000]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ([(0, 2.5, 4.6), (10, 2.27, 4.7), (100, 2.25, 5.1), (1000, 2.22, 5.9)], 10),
        ([(0, 4.0, 4.1), (10, 4.1, 4.3), (100, 5.6, 5.6), (1000, 7.0, 7.2)], 0),
        ([(0, 2.5, 4.6), (10, 2.5, 4.6)], 0),
        ([(0, 9.0, 4.0), (10, 8.0, 5.0), (1000, 4.0, 9.0)], 1000),
    ],
)
def test_of_what_answers_as_soon_the_thriftiest(
    measured: list[tuple[int, float, float]], expected: int
) -> None:
    """Spinning longer is worth its CPU only where answers come sooner by more than noise."""
    assert spinning.best([Spin(*each) for each in measured]) == expected


# --- Kept ------------------------------------------------------------------------------------


def test_a_plan_is_kept_for_the_next_load(tmp_path: Path) -> None:
    """For the same file and circumstances; what cannot be read is as good as none."""
    file = tmp_path / "model.onnx"
    file.write_bytes(b"one")
    key = plan_cache.key(file, "cpu", 2)
    plan_cache.write(key, Plan((LaneSpec(1, 2), LaneSpec(2, 1))))
    assert plan_cache.read(key) == Plan((LaneSpec(1, 2), LaneSpec(2, 1)))
    assert plan_cache.read(plan_cache.key(file, "cpu", 4)) is None
    file.write_bytes(b"two")
    assert plan_cache.key(file, "cpu", 2) != key
    (disk_cache.folder("plans") / key).write_text("nonsense")
    assert plan_cache.read(key) is None


def test_a_plan_that_cannot_be_kept_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no room for it, a line in the log says so."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    plan_cache.write("key", Plan((LaneSpec(1, 1),)))
    assert "plans/key cannot be kept for the next start" in caplog.text


def test_who_starts_together_measures_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process measures a plan while the others wait for it, and then take it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models.write(tmp_path, "simple", models.sum_and_difference(), "max_batch_size: 8")
    measured, tune = [], search.measure_plan

    def counted(*arguments: Any, **named: Any) -> search.MeasuredPlan:
        measured.append(arguments)
        return tune(*arguments, **named)

    monkeypatch.setattr(search, "measure_plan", counted)
    monkeypatch.setattr(cores, "waited", lambda: 0.0)
    source, shared = ModelSource(tmp_path / "simple"), ServerContext(providers.parse("cpu"))
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(lambda _: load(source, shared), range(4)))
    assert len(measured) == 1
    configs = [one.models[1].config.proto for one in loaded]
    assert len({config.parameters["crossrun.plan"].string_value for config in configs}) == 1
    for one in loaded:
        one.models[1].close()


def test_no_other_model_opens_while_one_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models without a plan that load at the same time are opened one after the other."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sources = [ModelSource(tmp_path / name) for name in ("a", "b", "c")]
    for number, source in enumerate(sources, 2):
        models.write(tmp_path, source.name, models.scale(number), "max_batch_size: 8")
    tune, measuring = search.measure_plan, list[int]()
    seen: list[set[int]] = []

    def watched(*arguments: Any, **named: Any) -> search.MeasuredPlan:
        measuring.append(threading.get_ident())
        time.sleep(0.3)  # the others would open theirs now
        found = tune(*arguments, **named)
        measuring.remove(threading.get_ident())
        return found

    def opened(*arguments: Any) -> Session:
        time.sleep(0 if arguments[0].parts[-3] == "a" else 0.15)
        seen.append(set(measuring) - {threading.get_ident()})
        return Session(*arguments)

    monkeypatch.setattr(search, "measure_plan", watched)
    monkeypatch.setattr(lanes, "Session", opened)
    with ThreadPoolExecutor(3) as threads:
        loaded = threads.map(lambda one: load(one, ServerContext(providers.parse("cpu"))), sources)
    for one in loaded:
        one.models[1].close()
    assert len(seen) >= 3
    assert not any(seen)


DISTURBED = "the next load measures again"

# --- A real server ---------------------------------------------------------------------------


def config_of(address: str) -> dict[str, str]:
    with grpc.insecure_channel(address) as channel:
        found = Stub(channel).ModelConfig(pb.ModelConfigRequest(name="simple")).config
    return {key: value.string_value for key, value in found.parameters.items()}


def test_the_plan_in_force_is_told(tmp_path: Path, log_file: Path) -> None:
    """In the log and in the configuration; the second start takes the one that is kept."""
    models.write(tmp_path / "m", "simple", models.sum_and_difference(), "max_batch_size: 8")
    told: list[str] = []
    while not told or DISTURBED in log_file.read_text():
        with serving(tmp_path / "m", log_file, "--provider", "cpu") as server:
            told.append(config_of(server.address)["crossrun.plan"])
            assert f"plan {told[-1]}, in" in log_file.read_text()
    with serving(tmp_path / "m", log_file, "--provider", "cpu") as server:
        assert config_of(server.address)["crossrun.plan"] == told[-1]
    assert lane_plan.parse(told[-1]).lanes


def test_a_plan_that_others_disturbed_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is used, and the next load measures again; the log says for how long others had the cores.

    What a quota withholds of whole cores is nobody's fault.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models.write(tmp_path, "simple", models.sum_and_difference(), "max_batch_size: 8")
    for expected, granted in ((0, 2.0), (1, 0.0)):
        monkeypatch.setattr(cores, "granted", lambda granted=granted: granted)
        monkeypatch.setattr(cores, "available", lambda: 2)
        monkeypatch.setattr(search.MeasuredPlan, "disturbed", property(lambda _: 0.6))
        loaded = load(ModelSource(tmp_path / "simple"), ServerContext(providers.parse("cpu")))
        loaded.models[1].close()
        kept = [*(tmp_path / "cache/crossrun/plans").iterdir()]
        assert len([file for file in kept if file.name != "lock"]) == expected
    assert caplog.text.count("its threads had no core for 60 % of the time") == 1


def test_a_model_is_tuned_and_its_plan_pinned(tmp_path: Path, log_file: Path, run: Command) -> None:
    """The command shows the curve and writes into config.pbtxt what the server then does."""
    models.write(tmp_path / "m", "simple", models.sum_and_difference(), "max_batch_size: 8")
    tune = ("crossrun-serve", "tune", tmp_path / "m", "--model", "simple", "--pin")
    while (shown := run(*tune)).returncode and "nothing is pinned" in shown.stderr:
        pass  # others had the cores, or a host moved them
    assert shown.returncode == 0, shown.stderr
    title, header, *_, found, pinned = shown.stdout.splitlines()
    assert title == f"simple on {cores.available()} cores"
    assert header.split() == ["places", "x", "threads", "one", "request", "all", "places"]
    assert pinned == f"pinned in {tmp_path}/m/simple/config.pbtxt"
    with serving(tmp_path / "m", log_file, "--provider", "cpu") as server:
        assert config_of(server.address)["plan"] == found.removeprefix("plan ")
    again = run(*tune)
    assert again.returncode == 1
    assert again.stderr.startswith(f"crossrun-serve: {tmp_path}/m/simple/config.pbtxt has the plan")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("instance_group { count: 2 }", "config.pbtxt names instances or threads, not a plan"),
        ("max_batch_size: -1", "max_batch_size is -1"),
    ],
)
def test_what_cannot_be_tuned_is_named(
    config: str, expected: str, tmp_path: Path, run: Command
) -> None:
    """One line that says why."""
    models.write(tmp_path / "m", "simple", models.sum_and_difference(), config)
    ended = run("crossrun-serve", "tune", tmp_path / "m", "--model", "simple")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert expected in ended.stderr


def test_a_plan_and_instances_contradict_each_other(tmp_path: Path, log_file: Path) -> None:
    """The model does not load, and the line names both."""
    config = models.ONE_AT_A_TIME + "instance_group { count: 2 }"
    models.write(tmp_path / "m", "simple", models.sum_and_difference(), config)
    told = "both say how many sessions and threads there are"
    with pytest.raises(AssertionError, match=told), serving(tmp_path / "m", log_file):
        pass


def test_answers_are_the_same_on_every_lane(tmp_path: Path, log_file: Path) -> None:
    """Many at once over a plan of two lanes: everybody gets the own sum."""
    pinned = "parameters { key: 'plan' value { string_value: '1x2@0us,2x1,batch=4' } }"
    two = f"max_batch_size: 8\n{pinned}"
    models.write(
        tmp_path / "m", "simple", models.sum_and_difference(), two + "\ndynamic_batching {}"
    )
    with (
        serving(tmp_path / "m", log_file, "--provider", "cpu") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = Stub(channel)
        meta = stub.ModelMetadata(pb.ModelMetadataRequest(name="simple"))
        calls = {value: stub.ModelInfer.future(_sum_of(meta, value)) for value in range(60)}
        for value, call in calls.items():
            sums = np.frombuffer(call.result().raw_output_contents[0], np.int32)
            assert set(sums) == {2 * value}, json.dumps(sums.tolist())


def _sum_of(meta: pb.ModelMetadataResponse, value: int) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="simple")
    for spec in meta.inputs:
        shape = [1 if size == -1 else size for size in spec.shape]
        request.inputs.add(name=spec.name, datatype=spec.datatype, shape=shape)
        request.raw_input_contents.append(np.full(shape, value, np.int32).tobytes())
    return request
