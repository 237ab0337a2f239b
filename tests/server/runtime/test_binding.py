"""Bound buffers, on the CPU's memory in the place of a card's: answers are those of a plain run."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import pytest

from crossrun_server.errors import LoadError
from crossrun_server.runtime import binding, providers, session
from crossrun_server.runtime.binding import BoundSession
from crossrun_server.runtime.providers import Provider
from crossrun_server.runtime.session import Session
from crossrun_server.tensors.tensor_spec import Array
from tests.support import models

CPU = ["CPUExecutionProvider"]


@pytest.fixture
def plain() -> onnxruntime.InferenceSession:
    """A net of which every provider computes all."""
    return onnxruntime.InferenceSession(models.conv().SerializeToString(), providers=CPU)


def pictures(rows: int, seed: int = 0) -> dict[str, Array]:
    shape = (rows, 3, 8, 8)
    return {"x": np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)}


def test_answers_are_those_of_a_plain_run(plain: onnxruntime.InferenceSession) -> None:
    """In any order of shapes; what was answered before stays as it was."""
    bound = BoundSession(plain, "cpu")
    asked = [pictures(rows, seed) for seed, rows in enumerate((1, 4, 1, 2, 4, 1))]
    answers = [bound.run(inputs, ["y"]) for inputs in asked]
    for inputs, (y,) in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(y, plain.run(["y"], inputs)[0])


def test_callers_at_the_same_time_get_their_own_answers(
    plain: onnxruntime.InferenceSession,
) -> None:
    """Many threads on a few shapes: no answer is made of another's picture."""
    bound = BoundSession(plain, "cpu")
    asked = [pictures(1 + seed % 3, seed) for seed in range(90)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda inputs: bound.run(inputs, ["y"])[0], asked))
    for inputs, y in zip(asked, answers, strict=True):
        np.testing.assert_array_equal(y, plain.run(["y"], inputs)[0])


def test_outputs_are_those_asked_for_in_that_order() -> None:
    """Whoever asks for one of two, or for both the other way round, gets just that."""
    model = models.sum_and_difference().SerializeToString()
    bound = BoundSession(onnxruntime.InferenceSession(model, providers=CPU), "cpu")
    inputs = {"INPUT0": np.full((2, 16), 5, np.int32), "INPUT1": np.full((2, 16), 3, np.int32)}
    difference, added = bound.run(inputs, ["OUTPUT1", "OUTPUT0"])
    (alone,) = bound.run(dict(reversed(inputs.items())), ["OUTPUT1"])
    assert (set(difference.flat), set(added.flat), set(alone.flat)) == ({2}, {8}, {2})


class Watched:
    """A session that notes which graph each run is to be."""

    def __init__(self, inner: onnxruntime.InferenceSession) -> None:
        self.inner, self.graphs = inner, list[str]()

    def io_binding(self) -> Any:
        return self.inner.io_binding()

    def run(self, names: list[str], inputs: dict[str, Array], options: Any) -> Any:
        self.graphs.append(f"plain {options.get_run_config_entry('gpu_graph_id')}")
        return self.inner.run(names, inputs, options)

    def run_with_iobinding(self, bound: Any, options: Any) -> None:
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self.inner.run_with_iobinding(bound, options)


def test_each_shape_has_a_graph_and_only_some_have(
    plain: onnxruntime.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first run tells how large the outputs are; shapes past the last graph run without one."""
    monkeypatch.setattr(binding, "MOST", 2)
    watched = Watched(plain)
    bound = BoundSession(watched, "cpu")
    for rows in (1, 2, 1, 2, 3):
        np.testing.assert_array_equal(
            bound.run(pictures(rows), ["y"])[0], plain.run(["y"], pictures(rows))[0]
        )
    assert watched.graphs == ["-1", "0", "-1", "1", "0", "1", "plain -1"]


def test_a_failure_harms_no_later_run() -> None:
    """The caller of the failed run is told, and the next is answered."""
    model = models.gather().SerializeToString()
    bound = BoundSession(onnxruntime.InferenceSession(model, providers=CPU), "cpu")
    for value in (99, 3, 99, 4):
        inputs = {"index": np.array([[value]])}
        if value == 99:
            with pytest.raises(Exception, match="out of data bounds"):
                bound.run(inputs, ["y"])
        else:
            assert bound.run(inputs, ["y"])[0].tolist() == [[value]]


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Providers that capture graphs and lie on the CPU; gives what ran bound."""
    ran: list[object] = []
    run = BoundSession.run

    def recorded(self: BoundSession, *arguments: Any) -> list[Array]:
        ran.append(arguments)
        return run(self, *arguments)

    monkeypatch.setattr(Provider, "captures", True)
    monkeypatch.setattr(session, "_device", lambda _: ("cpu", 0))
    monkeypatch.setattr(BoundSession, "run", recorded)
    return ran


def test_a_session_that_captures_graphs_runs_bound(
    plain: onnxruntime.InferenceSession, capturing: list[object]
) -> None:
    """Nobody else does: bound buffers bring nothing where there are no graphs."""
    bound = Session(models.conv().SerializeToString(), providers.parse("cpu"))
    y = bound.run(pictures(2), ["y"])["y"]
    np.testing.assert_array_equal(y, plain.run(["y"], pictures(2))[0])
    assert len(capturing) == 1


@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize("datatype", ["BF16", "BYTES"])
def test_what_no_buffer_can_hold_is_refused(datatype: str) -> None:
    """The model does not load with graphs, and the error names the data type."""
    model = models.identity(models.ELEMENT_TYPES[datatype], ["n", 2])
    with pytest.raises(LoadError, match=f"CUDA graphs take no tensors of {datatype}"):
        Session(model.SerializeToString(), providers.parse("cpu"))
