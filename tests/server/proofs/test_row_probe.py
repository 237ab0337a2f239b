"""Whether rows share runs: what is tried, what is found, and what becomes of the configuration."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest

from crossrun_server.proofs import dimension_names, row_probe
from crossrun_server.proofs.random_inputs import Range
from crossrun_server.proofs.row_probe import MIXED, PROVEN, UNKNOWN, Finding
from crossrun_server.proofs.row_trial import ProbeSpec
from crossrun_server.runtime.session import Session
from crossrun_server.scheduling.batching import Tensors
from crossrun_server.tensors.tensor_spec import Array, TensorSpec
from tests.support import mixing
from tests.support.independent import INDEPENDENT
from tests.support.running import ON_CPU

X, Y = TensorSpec("x", "FP32", (-1, 64)), TensorSpec("y", "FP32", (-1, 64))


def found(model: onnx.ModelProto, most: int = 8) -> Finding:
    session = Session(model.SerializeToString(), ON_CPU.default)
    inputs = (*session.inputs, *session.overridable)
    return row_probe.probe(session.attempt, ProbeSpec(inputs, session.outputs, most))


@pytest.mark.parametrize("what", mixing.MIXING)
def test_rows_that_mix_are_found_to(what: str) -> None:
    """Whatever it is that mixes them, and the output is named."""
    model = mixing.MIXING[what]()
    onnx.checker.check_model(model)
    told = found(model)
    assert told.state == MIXED
    assert "output 'y' " in told.reason


@pytest.mark.parametrize("what", mixing.MIXING)
def test_two_rows_are_enough_to_find_that_rows_mix(what: str) -> None:
    """A model with batches of 2 is never asked for 3."""
    assert found(mixing.MIXING[what](), most=2).state == MIXED


@pytest.mark.parametrize("what", INDEPENDENT)
def test_independent_rows_are_proven(what: str) -> None:
    """Of every datatype, with free sizes, with indices of few values, with optional inputs."""
    assert found(INDEPENDENT[what]()).state == PROVEN


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (mixing.silent(), "the model answers all made-up rows alike"),
        (mixing.quiet(), "output 'z' is nothing or zeros for all made-up rows"),
        (mixing.fixed(), "a run of 2 rows fails, and each alone does not: "),
        (mixing.choosy(), "the model refuses made-up rows: "),
    ],
)
def test_what_tells_nothing_is_not_proven(model: onnx.ModelProto, why: str) -> None:
    """Neither is it disproven."""
    told = found(model)
    assert (told.state, told.reason[: len(why)]) == (UNKNOWN, why)


def test_samples_are_tried_where_a_model_takes_no_other_rows() -> None:
    """Two that differ are enough."""
    session = Session(mixing.choosy().SerializeToString(), ON_CPU.default)
    given = tuple({"x": np.full((1, 4), value, np.float32)} for value in (12345, 12346))
    asked = ProbeSpec(session.inputs, session.outputs, 8, given=given)
    assert row_probe.probe(session.attempt, asked).state == PROVEN
    asked = ProbeSpec(session.inputs, session.outputs, 8, given=given[:1])
    assert row_probe.probe(session.attempt, asked).state == UNKNOWN


def computed(compute: Callable[[Array], Array], **asked: object) -> Finding:
    """What is found of a plain function."""

    def run(inputs: Tensors, _outputs: Sequence[str]) -> Tensors:
        return {"y": compute(inputs["x"])}

    return row_probe.probe(run, ProbeSpec(**{"inputs": (X,), "outputs": (Y,), "most": 8} | asked))  # type: ignore[arg-type]


def unlike_kernels(x: Array, by: float) -> Array:
    """What another number of rows changes where other kernels compute it."""
    noise = by * np.random.default_rng(len(x)).uniform(-1, 1, x.shape)
    return np.asarray(x * (1 + noise), x.dtype)


@pytest.mark.parametrize(
    ("datatype", "by", "state"),
    [("FP32", 1e-4, PROVEN), ("FP32", 1e-1, MIXED), ("FP16", 1e-2, PROVEN), ("FP16", 0.5, MIXED)],
)
def test_other_batch_sizes_may_have_other_kernels(datatype: str, by: float, state: str) -> None:
    """Answers may differ as far as the datatype's tolerance, and no further."""
    specs = {
        "inputs": (TensorSpec("x", datatype, (-1, 64)),),
        "outputs": (TensorSpec("y", datatype, (-1, 64)),),
    }
    assert computed(lambda x: unlike_kernels(x, by), **specs).state == state


def test_what_hangs_by_a_hair_may_fall_either_way() -> None:
    """Values that are sorted after kernels differed are in another order where they were equal."""
    whole = (TensorSpec("y", "INT64", (-1, 64)),)
    order = computed(lambda x: np.argsort(unlike_kernels(x, 5e-4), axis=1), outputs=whole)
    assert order.state == PROVEN
    numbered = computed(lambda x: np.argsort(x, axis=1) + np.arange(len(x))[:, None], outputs=whole)
    assert numbered.state == MIXED


def test_a_neighbour_that_changes_little_is_found() -> None:
    """The same kernels compute a row beside others, so that little is too much."""
    assert computed(lambda x: x + np.float32(1e-4) * x.mean(axis=0)).state == MIXED


def test_three_rows_are_tried_too() -> None:
    """Where a model may have them."""

    def compute(x: Array) -> Array:
        return x[::-1] if len(x) == 3 else x

    assert computed(compute).state == MIXED
    assert computed(compute, most=2).state == PROVEN


def test_columns_of_a_table_have_scales_of_their_own() -> None:
    """What is small beside pixels is found, though detections hang by a hair."""

    def tables(x: Array, numbered: bool) -> Array:
        jumpy = np.sort(unlike_kernels(x, 5e-4), axis=1) > np.float32(0.5)
        number = np.broadcast_to(np.arange(len(x))[:, None] * numbered, x.shape)
        return np.stack([number, 640.0 + jumpy], axis=2).astype(np.float32)

    outputs = (TensorSpec("y", "FP32", (-1, 64, 2)),)
    assert computed(lambda x: tables(x, numbered=False), outputs=outputs).state == PROVEN
    wide = computed(lambda x: tables(x, numbered=True), outputs=outputs, tolerance=2e-2)
    assert wide.state == MIXED


def test_nan_equals_nan() -> None:
    """A model that answers it answers the same alone and together."""
    with np.errstate(invalid="ignore"):
        assert computed(np.sqrt).state == PROVEN
    told = computed(lambda x: np.where(np.arange(len(x))[:, None] > 0, np.float32(np.nan), x))
    assert told.state == MIXED


def test_rows_are_from_the_range_that_is_known() -> None:
    """And of both its ends."""
    seen: list[Array] = []

    def compute(x: Array) -> Array:
        seen.append(x)
        return x

    computed(compute, ranges={"x": Range(-2, 6)})
    assert (min(x.min() for x in seen), max(x.max() for x in seen)) == (-2, 6)


@pytest.mark.parametrize(
    ("x", "y", "agree"),
    [
        ("batch", "batch", True),
        ("batch", "batch_size", True),
        ("batch", "num_dets", False),
        ("N", "M", False),
        ("batch", "2*batch", False),
        ("s0", "u0", True),  # one name alone: there is nothing that it could contradict
        ("batch", "u0", False),
        ("unk__12", "unk__37", True),
        ("batch", "unk__37", True),
        ("batch", "Reshapey_dim_0", True),
        ("x_dynamic_axes_1", "batch", True),
        ("p2o.DynamicDimension.0", "p2o.DynamicDimension.7", True),
        ("batch", "", True),
        ("", "", True),
    ],
)
def test_sizes_of_other_names_disagree(x: str, y: str, agree: bool) -> None:
    """Names that exporters make up say nothing."""
    specs = [TensorSpec("x", "FP32", (-1,), symbol=x), TensorSpec("y", "FP32", (-1,), symbol=y)]
    said = dimension_names.disagreement(specs)
    assert said == ("" if agree else f"the first dimension of 'y' is {y!r} and that of 'x' {x!r}")
