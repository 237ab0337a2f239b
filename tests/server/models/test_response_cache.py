"""The response cache: by itself, and in a real server over a model whose answers are random."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.models.response_cache import ENTRY, ModelCache, ResponseCache
from crossrun_server.scheduling.batching import Reply, Tensors
from tests.support import models
from tests.support.running import Command, Server, serving
from tests.support.telemetry import samples, statistics

CACHED = models.VOUCHED + "max_batch_size: 8 response_cache { enable: true }"
BATCHED = (
    models.VOUCHED
    + "max_batch_size: 3 response_cache { enable: true } "
    + ("dynamic_batching { max_queue_delay_microseconds: 60000000 }")
)
SIZE = 3 * (ENTRY + 32)  # three answers of dice: two outputs of [1, 4] FP32


@pytest.fixture(scope="module")
def caching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a cache for three answers, whose models are each asked by one test alone."""
    root = tmp_path_factory.mktemp("caching")
    for name in ("counted", "small", "full", "outputs"):
        models.write(root / "m", name, models.dice(), CACHED)
    models.write(root / "m", "uncached", models.dice(), models.VOUCHED + "max_batch_size: 8")
    models.write(root / "m", "batched", models.dice(), BATCHED)
    strings = models.identity(models.ELEMENT_TYPES["BYTES"], ["batch", 1])
    models.write(root / "m", "strings", strings, CACHED)
    with serving(root / "m", root / "log", "--cache-config", f"local,size={SIZE}") as running:
        yield running


@pytest.fixture
def stub(caching: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(caching.address) as channel:
        yield Stub(channel)


def dice(model: str, *values: float, outputs: tuple[str, ...] = ()) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[1, len(values)])
    message.raw_input_contents.append(np.array(values, np.float32).tobytes())
    for name in outputs:
        message.outputs.add(name=name)
    return message


def thrown(stub: Stub, message: pb.ModelInferRequest) -> tuple[bytes, ...]:
    return tuple(stub.ModelInfer(message).raw_output_contents)


def test_an_answer_that_was_given_is_given_again(caching: Server, stub: Stub) -> None:
    """The model does not run for it: its dice would have fallen otherwise; the counters agree."""
    first = thrown(stub, dice("counted", 1, 2, 3, 4))
    assert thrown(stub, dice("counted", 1, 2, 3, 4)) == first
    assert thrown(stub, dice("counted", 1, 2, 3, 5)) != first
    assert thrown(stub, dice("counted", 1, 2, 3, 4)) == first
    found = statistics(stub, "counted")
    stats = found.inference_stats
    assert (stats.cache_hit.count, stats.cache_miss.count) == (2, 2)
    assert min(stats.cache_hit.ns, stats.cache_miss.ns) > 0
    assert (stats.success.count, stats.queue.count) == (4, 4)
    assert (stats.compute_input.count, stats.compute_infer.count) == (2, 2)
    assert (found.inference_count, found.execution_count) == (2, 2)
    for name, value in (
        ("nv_cache_num_hits_per_model", 2),
        ("nv_cache_num_misses_per_model", 2),
        ("nv_cache_hit_duration_per_model", pytest.approx(stats.cache_hit.ns / 1000)),
        ("nv_cache_miss_duration_per_model", pytest.approx(stats.cache_miss.ns / 1000)),
    ):
        assert samples(caching, name, model="counted") == [value]


def test_a_model_that_asks_for_no_cache_has_none(caching: Server, stub: Stub) -> None:
    """Its dice fall anew each time, and it has no cache to count."""
    message = dice("uncached", 1, 2, 3, 4)
    assert thrown(stub, message) != thrown(stub, message)
    stats = statistics(stub, "uncached").inference_stats
    assert (stats.cache_hit.count, stats.cache_miss.count) == (0, 0)
    assert samples(caching, "nv_cache_num_hits_per_model", model="uncached") == []


def test_the_least_recently_used_answer_goes_first(stub: Stub) -> None:
    """Of four answers where three have room, the one not asked for the longest is lost."""
    first, second, third = (thrown(stub, dice("full", n, 0, 0, 0)) for n in (1, 2, 3))
    assert thrown(stub, dice("full", 1, 0, 0, 0)) == first
    thrown(stub, dice("full", 4, 0, 0, 0))
    assert thrown(stub, dice("full", 1, 0, 0, 0)) == first
    assert thrown(stub, dice("full", 3, 0, 0, 0)) == third
    assert thrown(stub, dice("full", 2, 0, 0, 0)) != second


def test_an_answer_larger_than_the_cache_is_not_kept(stub: Stub) -> None:
    """It is computed each time, and costs no other answer its place."""
    kept = thrown(stub, dice("small", 1, 2, 3, 4))
    large = dice("small", *([0.0] * SIZE))
    assert thrown(stub, large) != thrown(stub, large)
    assert thrown(stub, dice("small", 1, 2, 3, 4)) == kept


def test_answers_are_of_the_outputs_asked_for(stub: Stub) -> None:
    """The same inputs with other outputs are another request."""
    (y,) = thrown(stub, dice("outputs", 1, 2, 3, 4, outputs=("y",)))
    (z,) = thrown(stub, dice("outputs", 1, 2, 3, 4, outputs=("z",)))
    assert y != z
    assert thrown(stub, dice("outputs", 1, 2, 3, 4, outputs=("y",))) == (y,)


def test_each_request_of_a_batch_is_kept_by_itself(stub: Stub) -> None:
    """What shared a run is found again alone, without waiting for a batch."""
    messages = [dice("batched", n, 0, 0, 0) for n in (1, 2, 3)]
    calls = [stub.ModelInfer.future(message) for message in messages]
    answers = [tuple(call.result().raw_output_contents) for call in calls]
    assert len(set(answers)) == 3
    assert [thrown(stub, message) for message in messages] == answers
    assert statistics(stub, "batched").execution_count == 1


def test_strings_are_told_apart(stub: Stub) -> None:
    """BYTES tensors are compared by what they hold."""
    message = pb.ModelInferRequest(model_name="strings")
    message.inputs.add(name="x", datatype="BYTES", shape=[1, 1])
    for text in (b"one", b"two", b"one"):
        message.inputs[0].contents.bytes_contents[:] = [text]
        assert stub.ModelInfer(message).raw_output_contents[0].endswith(text)
    stats = statistics(stub, "strings").inference_stats
    assert (stats.cache_hit.count, stats.cache_miss.count) == (1, 2)


@pytest.mark.parametrize(
    "option", ["local", "size=9", "redis,size=9", "local,size=0", "local,size=x"]
)
def test_a_cache_that_cannot_be_made_is_one_line(
    option: str, tiny_models: Path, run: Command
) -> None:
    """The server does not start with another cache than the one that was asked for."""
    ended = run("crossrun-serve", tiny_models, "--port", 0, "--cache-config", option)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"crossrun-serve: --cache-config is {option!r}, expected local,size=BYTES"
    )


class Counting:
    """A model that answers with how often it was asked."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self) -> Reply:
        self.runs += 1
        y = np.array([self.runs])
        return Reply({"y": y}, queue_ns=1, input_ns=1, compute_ns=1, output_ns=1, batch=1)


def ask(cache: ModelCache, model: Counting, inputs: Tensors) -> Reply:
    return asyncio.run(cache.answer(inputs, ["y"], model))


def test_kept_arrays_cannot_be_changed() -> None:
    """Neither by whoever is answered from the cache nor by whoever got the answer first."""
    part, model = ModelCache(ResponseCache(10_000)), Counting()
    first = ask(part, model, {"x": np.zeros(1)})
    first.outputs["y"][0] = 99
    again = ask(part, model, {"x": np.zeros(1)})
    assert again.outputs["y"].tolist() == [1]
    with pytest.raises(ValueError, match="read-only"):
        again.outputs["y"][0] = 99
    again.outputs.clear()
    assert ask(part, model, {"x": np.zeros(1)}).outputs["y"].tolist() == [1]
    assert model.runs == 1


def test_a_loaded_model_sees_nothing_of_another() -> None:
    """Not even where both are the same files, loaded again; and what it kept ends with it."""
    shared, model = ResponseCache(ENTRY + 8), Counting()
    old, new = ModelCache(shared), ModelCache(shared)
    inputs = {"x": np.zeros(1)}
    assert ask(old, model, inputs).outputs["y"].tolist() == [1]
    assert ask(new, model, inputs).outputs["y"].tolist() == [2]
    new.close()
    assert ask(new, model, inputs).outputs["y"].tolist() == [3]


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.array([[1, 2]], np.int32)},
        {"x": np.array([1, 2], np.uint32)},
        {"y": np.array([1, 2], np.int32)},
        {"x": np.array([1], np.int32), "y": np.array([2], np.int32)},
        {"x": np.array(1, np.int32)},
        {"x": np.zeros((0, 4), np.int32)},
        {"x": np.array(["1", "2"], np.object_)},
        {"x": np.array(["12", ""], np.object_)},
    ],
)
def test_inputs_that_differ_in_anything_are_different(other: Tensors) -> None:
    """Name, dtype, shape and values all tell one request from another."""
    part, model = ModelCache(ResponseCache(10_000)), Counting()
    for inputs in ({"x": np.array([1, 2], np.int32)}, {"x": np.array(["", "12"], np.object_)}):
        ask(part, model, inputs)
    assert ask(part, model, other).outputs["y"].tolist() == [3]
    same = {
        name: np.repeat(array, 1, axis=-1) if array.ndim else array for name, array in other.items()
    }
    assert ask(part, model, same).outputs["y"].tolist() == [3]
