"""`crossrun swap`: another way to serve a model, or the way back; no request fails."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_client import swap
from tests.client.conftest import Ask, heed_interrupts
from tests.support import detectors, models
from tests.support.control import index, load, multiply, product
from tests.support.open_loop import open_loop
from tests.support.pictures import RED, rectangle
from tests.support.running import BIN, Command, Server, build, serving

Answer = Callable[..., Any]
CPU_PLAN = ("--parameter", "plan=1x1")


def parameters(stub: Stub, name: str) -> dict[str, str]:
    """What the configuration says that the server has not written itself."""
    told = stub.ModelConfig(pb.ModelConfigRequest(name=name)).config.parameters
    return {key: one.string_value for key, one in told.items() if not key.startswith("crossrun.")}


def written(root: Path, stub: Stub, name: str, *later: float) -> None:
    """Load a model that multiplies by 1; `later` are the factors of versions 2, 3 … on the disk."""
    if not (root / name).exists():
        models.write(root, name, models.scale(1))
    load(stub, name).result()
    for version, factor in enumerate(later, 2):
        models.write(root, name, models.scale(factor), version=version)


def test_the_same_answers_let_a_change_stay(root: Path, stub: Stub, answer: Answer) -> None:
    """Both sides are told: what computes them, how fast, and how far their answers are apart."""
    written(root, stub, "planned")
    told = answer("swap", "planned", *CPU_PLAN)
    assert told["model"] == "planned"
    assert told["before"]["placed"]["nodes"] == told["after"]["placed"]["nodes"] == {"cpu": 1}
    assert min(told[side]["latency_ms"] for side in ("before", "after")) > 0
    assert told["asked"] == "8 random requests"
    assert told["largest_difference"] == 0 < told["allowed_difference"] < 0.01
    assert told["alike"] is True
    assert parameters(stub, "planned") == {"plan": "1x1"}


def test_people_see_both_sides_beside_each_other(root: Path, stub: Stub, ask: Ask) -> None:
    """On stdout the outcome, on stderr the steps."""
    written(root, stub, "seen")
    done = ask("swap", "seen", *CPU_PLAN)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["Runs", "on", "1", "node", "on", "cpu", "1", "node", "on", "cpu"] in rows
    assert "same answers to 8 random requests: largest difference 0 (allowed" in done.stdout
    assert "crossrun: loading it beside the one that serves" in done.stderr


def test_other_answers_bring_the_old_version_back(root: Path, stub: Stub, ask: Ask) -> None:
    """A version with other weights serves only if that is wanted."""
    written(root, stub, "trained", 1.5)
    done = ask("swap", "trained", "--version", 2)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("crossrun: trained serves as before again: its answers to 8 random")
    assert "largest difference 0." in last
    assert product(multiply(stub, "trained")) == 3
    done = ask("swap", "trained", "--version", 2, "--any-answers")
    assert done.returncode == 0, done.stderr
    assert "other answers to 8 random requests" in done.stdout
    assert product(multiply(stub, "trained")) == 4.5


def test_a_newer_version_on_the_disk_does_not_come_in_by_the_way(
    root: Path, stub: Stub, answer: Answer
) -> None:
    """Neither by a change of something else nor by the way back."""
    written(root, stub, "pinned", 2.0)
    assert answer("swap", "pinned", *CPU_PLAN)["after"]["versions"] == ["1"]
    assert product(multiply(stub, "pinned")) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--provider", "cuda"), "has no CUDAExecutionProvider"),
        (("--version", "7"), "has no version 7"),
        (("--precision", "fp16"), "there is no failing-fp16"),
        (("--parameter", "plan=none"), "plan"),
    ],
)
def test_what_cannot_be_loaded_changes_nothing(
    words: tuple[str, str], told: str, root: Path, stub: Stub, ask: Ask
) -> None:
    """The server's reason is told, and the old model goes on."""
    written(root, stub, "failing")
    before = stub.ModelConfig(pb.ModelConfigRequest(name="failing"))
    done = ask("swap", "failing", *words)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("crossrun: failing serves as before: INVALID_ARGUMENT: failed to load")
    assert told in last
    assert stub.ModelConfig(pb.ModelConfigRequest(name="failing")) == before


def test_no_request_fails_meanwhile(root: Path, stub: Stub, ask: Ask) -> None:
    """Neither by a change that stays nor by one that is taken back."""
    written(root, stub, "busy", 2.0)

    def send(number: int) -> Any:
        message = pb.ModelInferRequest(model_name="busy", id=str(number))
        message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
        message.raw_input_contents.append(np.float32(number).tobytes())
        return stub.ModelInfer.future(message)

    with open_loop(send) as calls:
        assert ask("swap", "busy", "--parameter", "batch_sizes=1,32").returncode == 0
        assert ask("swap", "busy", "--version", 2).returncode == 1
    for done in (call.result() for call in calls):
        factor = int(done.model_version)
        assert np.frombuffer(done.raw_output_contents[0], np.float32) == int(done.id) * factor


def colours(white: float, *channels: int) -> onnx.ModelProto:
    """`colours`, by another white and with channels in another order."""
    model = models.colours()
    (divisor,) = model.graph.initializer
    divisor.CopyFrom(onnx.helper.make_tensor("white", onnx.TensorProto.FLOAT, [], [white]))
    if channels:
        order = onnx.helper.make_tensor("order", onnx.TensorProto.INT64, [3], channels)
        model.graph.initializer.append(order)
        model.graph.node[-1].input[0] = "swapped"
        node = onnx.helper.make_node("Gather", ["mean", "order"], ["swapped"], axis=1)
        model.graph.node.insert(2, node)
    return model


@pytest.fixture(scope="session")
def precise(root: Path) -> str:
    """A classifier, in int8 with slightly other scores, and in fp16 with other classes."""
    nets = {"": colours(255), "-int8": colours(257), "-fp16": colours(255, 1, 2, 0)}
    for ending, net in nets.items():
        config, labels = models.COLOURS_CONFIG, ["red", "green", "blue"]
        models.write(root, f"precise{ending}", net, config, labels=labels)
    return "precise"


def test_another_precision_has_to_name_the_same_classes(
    precise: str, stub: Stub, ask: Ask, answer: Answer
) -> None:
    """Scores may move as those of int8 do; and back it goes to fp32."""
    load(stub, precise).result()
    told = answer("swap", precise, "--precision", "int8")
    assert told["asked"] == "16 drawn pictures"
    assert 1e-3 < told["largest_difference"] < 0.01
    assert (told["agreement"], told["least_agreement"]) == (1, 0.8)
    assert parameters(stub, precise)["precision"] == "int8"
    assert answer("swap", precise, "--precision", "fp32")["alike"] is True
    done = ask("swap", precise, "--precision", "fp16")
    assert done.returncode == 1
    assert "precise serves as before again: its answers to 16 drawn pictures" in done.stderr
    assert "of 16 the same (at least 80%" in done.stderr
    assert parameters(stub, precise)["precision"] == "fp32"


def test_pictures_of_ones_own_are_asked_about(
    precise: str, tmp_path: Path, ask: Ask, answer: Answer
) -> None:
    """A folder of them; of what takes none, that is said before anything changes."""
    assert ask("load", precise).returncode == 0
    for number in range(3):
        rectangle((10, 10, 40, 40), RED).save(tmp_path / f"{number}.png")
    told = answer("swap", precise, "--precision", "int8", "--images", tmp_path)
    assert told["asked"] == "3 pictures"
    done = ask("swap", "kept", *CPU_PLAN, "--images", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"crossrun: kept cannot be asked about {tmp_path}: INVALID_ARG")
    assert len(done.stderr.splitlines()) == 1


def test_a_detector_is_compared_by_what_it_finds(
    root: Path, stub: Stub, tmp_path: Path, answer: Answer
) -> None:
    """Boxes and scores of each object, and how many are found on both sides."""
    config = detectors.FINDER + detectors.OPTIONS
    models.write(root, "finder", detectors.finder(), config, labels=detectors.LABELS)
    load(stub, "finder").result()
    rectangle((20, 10, 60, 50), RED).save(tmp_path / "red.png")
    told = answer("swap", "finder", *CPU_PLAN, "--images", tmp_path / "red.png")
    assert told["asked"] == "1 picture"
    assert told["largest_difference"] == 0


def test_answers_that_differ_by_themselves_hold_nothing(root: Path, stub: Stub, ask: Ask) -> None:
    """Of a model that is random nobody can say whether it still is the same."""
    models.write(root, "dice", models.dice())
    load(stub, "dice").result()
    done = ask("swap", "dice", *CPU_PLAN)
    assert done.returncode == 1
    assert done.stderr.endswith("differ from one time to the next: nothing to hold\n")


def test_a_model_that_refuses_random_inputs_is_not_touched(
    root: Path, stub: Stub, ask: Ask
) -> None:
    """Because nothing can be compared; the server's reason is told."""
    models.write(root, "weigh", models.weigh())
    load(stub, "weigh").result()
    done = ask("swap", "weigh", *CPU_PLAN)
    assert done.returncode == 1
    assert done.stderr.startswith("crossrun: weigh refuses random inputs: ")


def test_where_a_change_is_not_allowed_the_error_says_how(server: Server, run: Command) -> None:
    """A server in another mode loads nothing on request."""
    done = run("crossrun", "swap", "simple", *CPU_PLAN, "--address", server.address)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("crossrun: simple serves as before: the server loads no models that")
    assert last.endswith("--model-control-mode explicit --load-model '*'")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("swap", "kept"), "expected what is to be another"),
        (("swap", "kept", "--parameter", "plan"), "'plan', expected KEY=VALUE"),
        (("swap", "kept", "--version", "none"), "--version"),
    ],
)
def test_what_asks_for_nothing_is_a_usage_error(
    words: tuple[str, ...], told: str, ask: Ask
) -> None:
    """With exit status 2."""
    done = ask(*words)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())


TURNS = 400_000  # of the slow model's warm-up: a second or more


@pytest.fixture
def slow(root: Path, stub: Stub) -> Iterator[Callable[[int], int]]:
    """A model whose next load takes so many turns."""
    config = models.ONE_AT_A_TIME + (
        'model_warmup { name: "turns" inputs { key: "turns" value { data_type: TYPE_INT64 dims: 1 '
        'input_data_file: "turns" } } }'
    )
    file = root / "slow" / "warmup" / "turns"
    if not file.exists():
        models.write(root, "slow", models.slow(), config)
        file.parent.mkdir()

    def take(turns: int) -> int:
        return file.write_bytes(turns.to_bytes(8, "little"))

    take(1)
    load(stub, "slow").result()
    yield take
    take(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_swap_goes_back(
    number: signal.Signals, explicit: Server, stub: Stub, slow: Callable[[int], int]
) -> None:
    """Also while the server still builds what was asked for."""
    before = parameters(stub, "slow")
    slow(TURNS)
    words = [BIN / "crossrun", "swap", "slow", "--parameter", "plan=2x1"]
    with subprocess.Popen(
        [*map(str, words), "--address", explicit.address],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - it takes no lock
    ) as process:
        assert process.stderr
        while "loading it beside" not in process.stderr.readline():
            pass
        time.sleep(0.2)  # until the server is at it; the way back is the same if it is not
        slow(1)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.splitlines()[-2:] == [
        "crossrun: interrupted; loading slow as it was",
        "crossrun: slow serves as before again: interrupted",
    ]
    assert parameters(stub, "slow") == before
    assert index(stub, "slow")["1"][0] == "READY"


def test_a_server_that_is_lost_leaves_no_doubt_unsaid(
    tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it does not come back, nobody knows how it serves, and that is what is said."""
    monkeypatch.setattr(swap, "_RETURN_S", 0.1)
    models.write(tmp_path / "models", "m", models.scale(1))
    explicit = ("--model-control-mode", "explicit", "--load-model", "*")
    with serving(tmp_path / "models", tmp_path / "log", *explicit) as server:
        real = swap.changed

        def dying(*given: Any) -> Any:
            server.process.kill()
            server.process.wait()
            return real(*given)

        monkeypatch.setattr(swap, "changed", dying)
        done = run("crossrun", "swap", "m", *CPU_PLAN, "--address", server.address)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"crossrun: cannot connect to {server.address}: ")
    assert last.endswith("nobody knows how it serves: see crossrun status")


def test_a_model_moves_to_openvino_and_back(placeable: Path, tmp_path: Path, run: Command) -> None:
    """Its nodes are counted, and what it is told to do in case of need is told."""
    options = ("--provider", "cpu", "--model-control-mode", "explicit", "--load-model", "*")
    with serving(placeable, tmp_path / "log", *options, environment=build("openvino")) as server:

        def moved(name: str, providers: str) -> list[str]:
            words = ("swap", name, "--provider", providers, "--address", server.address)
            done = run("crossrun", *words)
            assert done.returncode == 0, done.stderr
            assert "same answers to 8 random requests" in done.stdout
            (line,) = (one for one in done.stdout.splitlines() if "Runs on" in one)
            return line.split()[2:]

        on_cpu, on_openvino = ["3", "nodes", "on", "cpu"], ["3", "nodes", "on", "openvino"]
        assert moved("conv", "openvino,cpu") == on_cpu + on_openvino
        assert moved("conv", "cpu") == on_openvino + on_cpu
        half = "1 node on openvino, 1 node on cpu"
        assert " ".join(moved("determinant", "openvino")) == f"2 nodes on cpu {half}"
