"""The fastest provider that is right: measured, told, kept, and measured again."""

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from crossrun_server import tune
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.model import Model
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.plans import choice, core_distance, steady
from crossrun_server.plans import race as race_module
from crossrun_server.runtime import providers
from tests.support import models, proofs
from tests.support.configs import parameter
from tests.support.placed import CPU, CUDA, OPENVINO
from tests.support.racing import Racing, StandIn, racing

PINNED = parameter("plan", "1x1")  # so that no plan is measured
COLOURS = models.COLOURS_CONFIG + PINNED

Race = Callable[..., Racing]


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Race:
    """Make a repository of `colours` with its proof, and these providers."""
    proofs.repository(tmp_path / "m", config=COLOURS)
    return lambda **named: racing(monkeypatch, tmp_path, **named)


def load(root: Path, wanted: str = "fastest", name: str = "colours", **context: Any) -> Model:
    """Load a model; gives it, closed."""
    options = context.pop("options", None)
    shared = ServerContext(providers.parse(wanted, options), **context)
    (found,) = loader.load(ModelSource(root / "m" / name), shared).models.values()
    found.close()
    return found


def told(model: Model) -> str:
    return model.config.proto.parameters["crossrun.fastest"].string_value


def refusal(root: Path, wanted: str = "fastest", name: str = "colours") -> str:
    with pytest.raises(LoadError) as caught:
        load(root, wanted, name)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"failed to load {name!r}: version 1: ")


# --- The choice ------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["fastest", "fastest:cpu,openvino", "fastest:openvino,cpu"])
def test_the_soonest_is_taken_and_told(
    race: Race, tmp_path: Path, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the session, in the configuration, in the log, and with why the others do not run."""
    caplog.set_level("INFO")
    race(cpu=StandIn(0.0026), openvino=StandIn(0.0019))
    found = load(tmp_path, wanted)
    (placed,) = found.assignments
    assert found.provider == found.reading().labels[2] == OPENVINO
    assert (placed.requested, dict(placed.nodes)) == (wanted, {OPENVINO: 3})
    assert placed.skipped == {CPU: f"one request took 2.60 ms, on {OPENVINO} 1.90 ms"}
    said = f"one request on {OPENVINO}, in 1.90 ms; {CPU}, plan 1x1, in 2.60 ms"
    assert told(found) == said
    assert f"colours: {said}" in caplog.text
    assert f"loaded colours version 1 on {OPENVINO} (3 nodes, f32) in" in caplog.text


@pytest.mark.parametrize("seconds", [0.0030, 0.0026, 0.0025])
def test_what_is_no_faster_than_the_cpu_is_not_taken(
    race: Race, tmp_path: Path, seconds: float
) -> None:
    """Slower, or sooner by less than noise: then the model runs on the CPU, in its plan."""
    race(openvino=StandIn(seconds), cpu=StandIn(0.0026))
    found = load(tmp_path)
    assert found.provider == CPU
    assert found.config.proto.parameters["crossrun.plan"].string_value == "1x1"
    reason = f"one request took {1e3 * seconds:.2f} ms, on {CPU} 2.60 ms"
    noise = ", within noise" if seconds < 0.003 else ""
    assert found.assignments[0].skipped == {OPENVINO: reason + noise}


@pytest.mark.parametrize(
    ("off_by", "figure"), [(0.021, "is off by 0.021 in"), (math.nan, "returns NaN or infinity in")]
)
def test_who_answers_wrong_is_not_taken_however_fast(
    race: Race, tmp_path: Path, off_by: float, figure: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it was named or not; it is told by how much it was off."""
    race(cpu=StandIn(0.003), openvino=StandIn(0.001, off_by=off_by))
    found = load(tmp_path, "fastest:cpu,openvino")
    assert found.provider == CPU
    reason = found.assignments[0].skipped[OPENVINO]
    assert reason.startswith(f"{OPENVINO} in f32 {figure} 'scores'")
    assert told(found).endswith(f"; not {OPENVINO}: {reason}")
    assert f"not {OPENVINO}: {reason}" in caplog.text


def test_a_tolerance_lets_in_who_is_off_on_purpose(race: Race, tmp_path: Path) -> None:
    """As it does where the provider is named."""
    race(cpu=StandIn(0.003), openvino=StandIn(0.001, off_by=0.021))
    assert load(tmp_path, proof_tolerance=0.1).provider == OPENVINO


def test_if_nobody_answers_right_the_model_does_not_load(race: Race, tmp_path: Path) -> None:
    """One line, with what each was off by."""
    race(cpu=StandIn(off_by=0.5), openvino=StandIn(off_by=0.021))
    said = refusal(tmp_path)
    assert said.startswith("no provider of fastest can be taken: ")
    assert "CPUExecutionProvider is off by 0.5 in 'scores'" in said
    assert f"{OPENVINO} in f32 is off by 0.021 in 'scores'" in said


def test_who_cannot_run_is_an_error_only_if_it_was_named(
    race: Race, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without names it is passed over, and the log says why."""
    race(cpu=StandIn(), openvino=StandIn(reason="cannot compile a loop"), cuda=StandIn(here=False))
    found = load(tmp_path)
    assert found.provider == CPU
    assert found.assignments[0].skipped == {OPENVINO: f"{OPENVINO} cannot compile a loop"}
    assert f"colours: not {OPENVINO}: {OPENVINO} cannot compile a loop" in caplog.text
    assert CUDA not in caplog.text
    assert refusal(tmp_path, "fastest:cpu,openvino") == f"{OPENVINO} cannot compile a loop"


def test_what_nothing_vouches_for_is_not_taken(race: Race, tmp_path: Path) -> None:
    """Without a proof, outputs that cannot be compared, and int8 that each provider rounds."""
    race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    draw = np.random.default_rng(1)
    calibration = [{"x": draw.random((1, 3, 8, 8), np.float32)} for _ in range(4)]
    models.write(tmp_path / "m", "simple", models.sum_and_difference(), PINNED)
    models.write(tmp_path / "m", "int8", models.int8(models.conv(), calibration), PINNED)
    models.write(tmp_path / "m", "conv", models.conv(), PINNED)
    for name, why in (("simple", "cannot be compared"), ("int8", "in a reduced precision, not h")):
        found = load(tmp_path, name=name)
        assert found.provider == CPU
        reason = found.assignments[0].skipped[OPENVINO]
        assert reason.startswith("nothing vouches for its answers: no proof; ")
        assert why in reason
    assert load(tmp_path, name="conv").provider == OPENVINO


def test_a_model_chooses_for_itself(race: Race, tmp_path: Path) -> None:
    """In config.pbtxt, or in a configuration that a load brings; other models are not measured."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    models.write(tmp_path / "m", "other", models.colours(), COLOURS, ["red", "green", "blue"])
    config = COLOURS + parameter("providers", "fastest:cpu,openvino")
    (tmp_path / "m/colours/config.pbtxt").write_text(config)
    assert load(tmp_path, "cpu").provider == OPENVINO
    assert load(tmp_path, "cpu", "other").provider == CPU
    assert len(found.races) == 1


def test_each_instance_runs_on_the_chosen_one(race: Race, tmp_path: Path) -> None:
    """Instances have no plan; one that names a provider has that, and tells it."""
    race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    config = models.COLOURS_CONFIG + "instance_group { count: 2 }"
    (tmp_path / "m/colours/config.pbtxt").write_text(config)
    found = load(tmp_path)
    assert [one.provider for one in found.assignments] == [OPENVINO, OPENVINO]
    assert {one.requested for one in found.assignments} == {"fastest"}
    mixed = "instance_group [{ kind: KIND_CPU }, { kind: KIND_AUTO }]"
    (tmp_path / "m/colours/config.pbtxt").write_text(models.COLOURS_CONFIG + mixed)
    first, second = load(tmp_path).assignments
    assert (first.provider, first.requested, first.skipped) == (CPU, "cpu", {})
    assert (second.provider, second.requested, [*second.skipped]) == (OPENVINO, "fastest", [CPU])


def test_a_model_that_refuses_zeros_needs_a_sample(race: Race, tmp_path: Path) -> None:
    """The error says so; with model_warmup it is measured on that."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    config = "max_batch_size: 8\n" + PINNED + parameter("proof_tolerance", "1")
    models.write(tmp_path / "m", "gather", refusing_zeros(), config)
    x = np.ones((2, 2), np.float32)
    arrays = {"input/x": x, "output/y": x}
    proofs.write(tmp_path / "m/gather/1", arrays, min_agreement=0.0)
    said = refusal(tmp_path, name="gather")
    assert said.startswith("the fastest provider cannot be measured: ")
    assert said.endswith("name a provider, or add a model_warmup sample that the model takes")
    sample = "model_warmup { inputs { key: 'x' value { data_type: TYPE_FP32 dims: 2 %s } } }"
    (tmp_path / "m/gather/warmup").mkdir()
    (tmp_path / "m/gather/warmup/ones").write_bytes(x[0].tobytes())
    file = tmp_path / "m/gather/config.pbtxt"
    file.write_text(config + sample % "input_data_file: 'ones'")
    assert load(tmp_path, name="gather").provider == OPENVINO
    assert len(found.races) == 2


def refusing_zeros() -> onnx.ModelProto:
    """`x` → `y`, the same, by an index that must be under 0: that of -`x`."""
    model = models.identity(onnx.TensorProto.FLOAT, ["batch", 2])
    (node,) = model.graph.node
    node.output[0] = "kept"
    helper = onnx.helper
    model.graph.initializer.append(helper.make_tensor("two", onnx.TensorProto.INT64, [2], [0, 0]))
    model.graph.initializer.append(helper.make_tensor("one", onnx.TensorProto.FLOAT, [], [1.0]))
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Sub", ["one", "most"], ["zero"]),
            helper.make_node("Mul", ["zero", "far"], ["index"]),
            helper.make_node("Cast", ["index"], ["row"], to=onnx.TensorProto.INT64),
            helper.make_node("Gather", ["two", "row"], ["nothing"]),
            helper.make_node("Cast", ["nothing"], ["added"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Add", ["kept", "added"], ["y"]),
        ]
    )
    model.graph.initializer.append(helper.make_tensor("far", onnx.TensorProto.FLOAT, [], [9.0]))
    return model


# --- Kept ------------------------------------------------------------------------------------


def test_a_choice_is_kept_for_the_next_load(
    race: Race, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told as before, and nothing is measured; damaged, it is as good as none."""
    caplog.set_level("INFO")
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    first, second = load(tmp_path), load(tmp_path)
    assert len(found.races) == 1
    assert second.provider == OPENVINO
    assert (told(second), second.assignments[0].skipped) == (
        told(first),
        first.assignments[0].skipped,
    )
    assert f"colours, as measured earlier: {told(first)}" in caplog.text
    for file in (tmp_path / "cache/crossrun/fastest").iterdir():
        file.write_text("nonsense")
    load(tmp_path)
    assert len(found.races) == 2


def other_file(root: Path, _: Racing) -> None:
    model = onnx.load(root / "m/colours/1/model.onnx")
    model.doc_string = "another"
    onnx.save(model, root / "m/colours/1/model.onnx")


def other_proof(root: Path, _: Racing) -> None:
    proofs.write(root / "m/colours/1", proofs.held(models.colours(), seed=4), classes="scores")


def other_settings(root: Path, _: Racing) -> None:
    (root / "m/colours/config.pbtxt").write_text(COLOURS + "version_policy { latest {} }")


def other_version(_root: Path, found: Racing) -> None:
    found.version = "2.0"


def another_provider(_root: Path, found: Racing) -> None:
    found.providers[CUDA] = StandIn(0.0001)


@pytest.mark.parametrize(
    "change", [other_file, other_proof, other_settings, other_version, another_provider]
)
def test_what_is_kept_holds_in_the_same_circumstances_alone(
    race: Race, tmp_path: Path, change: Callable[[Path, Racing], None]
) -> None:
    """Another file, proof, configuration, version or provider is measured anew."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    load(tmp_path)
    change(tmp_path, found)
    assert load(tmp_path).provider == (CUDA if CUDA in found.providers else OPENVINO)
    assert len(found.races) == 2


@pytest.mark.parametrize(
    "context", [{"cores": 7}, {"proof_tolerance": 0.5}, {"options": {"openvino": {"a": "b"}}}]
)
def test_what_is_kept_holds_for_the_same_server_alone(
    race: Race, tmp_path: Path, context: dict[str, Any]
) -> None:
    """Another number of cores, tolerance or option is measured anew."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    load(tmp_path)
    load(tmp_path, **context)
    assert len(found.races) == 2


def test_a_choice_that_no_longer_answers_right_is_measured_again(
    race: Race, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after an update that nobody sees; the model still loads, and the log says why."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    load(tmp_path)
    found.providers[OPENVINO].off_by = 0.25
    assert load(tmp_path).provider == CPU
    told = f"colours: {OPENVINO} was the fastest and cannot be used any more, so all are measured"
    assert f"{told} again: {OPENVINO} in f32 is off by 0.25 in 'scores'" in caplog.text


@pytest.mark.parametrize(
    ("changes", "doubt"),
    [
        ({"trips": (220, 460)}, "a host moved the cores while this was measured"),
        ({"waited": 2.0}, "its threads had no core for 200 % of the time"),
    ],
)
def test_a_choice_that_was_disturbed_is_used_and_not_kept(
    race: Race,
    tmp_path: Path,
    changes: dict[str, Any],
    doubt: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A host that moves the cores is measured three times; the next load measures again."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    vars(found).update(changes)
    assert load(tmp_path).provider == OPENVINO
    assert len(found.races) == (3 if "trips" in changes else 1)
    assert f"colours: {doubt}" in caplog.text
    assert "the choice is used and not kept: the next load measures again" in caplog.text
    load(tmp_path)
    assert len(found.races) == (6 if "trips" in changes else 2)


def test_who_starts_together_measures_once(race: Race, tmp_path: Path) -> None:
    """One measures while the others wait for it, and then take what it found."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(lambda _: load(tmp_path), range(4)))
    assert len(found.races) == 1
    assert {one.provider for one in loaded} == {OPENVINO}


def test_who_waits_for_a_choice_in_doubt_takes_it(
    race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that processes that start together run on the same provider; who starts later measures."""
    found = race(cpu=StandIn(0.003), openvino=StandIn(0.001))
    found.waited = 2.0
    waiting, read = threading.Semaphore(0), choice.read

    def reading(key: str, began: float) -> choice.Choice | None:
        waiting.release()
        return read(key, began)

    def run(runs: Mapping[str, Any]) -> race_module.Race:
        for _ in range(4 if not found.races else 0):  # all four have begun
            assert waiting.acquire(timeout=60)
        return found.run(runs)

    monkeypatch.setattr(choice, "read", reading)
    monkeypatch.setattr(race_module, "run", run)
    with ThreadPoolExecutor(4) as threads:
        loaded = list(threads.map(lambda _: load(tmp_path), range(4)))
    assert len(found.races) == 1
    assert {one.provider for one in loaded} == {OPENVINO}
    load(tmp_path)
    assert len(found.races) == 2


def test_a_choice_is_read_as_it_is_written(race: Race, tmp_path: Path) -> None:
    """What is refused too, with a difference that is no number."""
    race(cpu=StandIn(0.003), openvino=StandIn(0.001, off_by=math.nan))
    load(tmp_path)
    (file,) = (f for f in (tmp_path / "cache/crossrun/fastest").iterdir() if f.name != "lock")
    read = choice.read(file.name, began=0)
    assert read
    assert [one.provider for one in read.standings] == [CPU, OPENVINO]
    assert read.standings[1].off_by == "nan"
    choice.write("copy", read)
    assert choice.read("copy", began=0) == read


# --- Tuned -----------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of our own, whose cores stay where they are."""
    monkeypatch.setattr(steady, "disturbance", lambda _: "")
    monkeypatch.setattr(core_distance, "nanoseconds", lambda: 70)


@pytest.mark.usefixtures("quiet")
def test_tune_shows_every_provider_and_pins_the_fastest(race: Race, tmp_path: Path) -> None:
    """Plan, speed, difference; config.pbtxt then names the provider with its options."""
    race(cpu=StandIn(0.003), openvino=StandIn(0.001), cuda=StandIn(off_by=0.25))
    (tmp_path / "m/colours/config.pbtxt").write_text(models.COLOURS_CONFIG)
    request = providers.parse("fastest", {"openvino": {"device_type": "CPU"}})
    lines = list(tune.tune(tmp_path / "m", "colours", ServerContext(request), pin=True))
    title, header, first, second, third, found, pinned = lines
    assert title.startswith("colours on ")
    assert header.split() == ["provider", "plan", "one", "request", "all", "places", "off", "by"]
    assert first.split()[:4] == ["openvino", "-", "1.00", "ms"]
    assert first.split()[-1] == "0"
    assert second.split()[0] == "cpu"
    assert third.split()[:5] == ["cuda", "-", "refused", "-", "0.25:"]
    assert found == "fastest openvino"
    assert pinned == f"pinned in {tmp_path}/m/colours/config.pbtxt"
    assert load(tmp_path, "cpu").assignments[0].requested == "openvino"
    assert "device_type" in (tmp_path / "m/colours/config.pbtxt").read_text()


def test_tune_pins_nothing_that_is_pinned_already(race: Race, tmp_path: Path) -> None:
    """The line names what has to be taken out first, before anything is measured."""
    found = race(cpu=StandIn())
    config = models.COLOURS_CONFIG + parameter("providers", "fastest")
    (tmp_path / "m/colours/config.pbtxt").write_text(config)
    context = ServerContext(providers.parse("cpu"))
    with pytest.raises(LoadError, match=r"has the providers fastest already; take it out first"):
        list(tune.tune(tmp_path / "m", "colours", context, pin=True))
    assert not found.races


@pytest.mark.usefixtures("quiet")
def test_tune_pins_the_plan_of_the_cpu_with_it(race: Race, tmp_path: Path) -> None:
    """The next load then measures nothing."""
    found = race(cpu=StandIn(0.001), openvino=StandIn(0.003))
    (tmp_path / "m/colours/config.pbtxt").write_text(models.COLOURS_CONFIG)
    context = ServerContext(providers.parse("fastest"))
    lines = list(tune.tune(tmp_path / "m", "colours", context, pin=True))
    loaded = load(tmp_path)
    assert lines[2].split()[1] == loaded.config.proto.parameters["plan"].string_value
    assert loaded.assignments[0].requested == "cpu"
    assert len(found.races) == 1


def test_what_was_disturbed_is_not_pinned(race: Race, tmp_path: Path) -> None:
    """One line says why, and config.pbtxt stays as it is."""
    race(cpu=StandIn(), openvino=StandIn(0.001)).trips = (220, 460)
    (tmp_path / "m/colours/config.pbtxt").write_text(models.COLOURS_CONFIG)
    context = ServerContext(providers.parse("fastest"))
    with pytest.raises(LoadError, match="nothing is pinned: a host moved the cores"):
        list(tune.tune(tmp_path / "m", "colours", context, pin=True))
    assert (tmp_path / "m/colours/config.pbtxt").read_text() == models.COLOURS_CONFIG
