"""The way of a picture into a foreign graph, and whether its rows are independent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto as Tp
from onnx import helper, numpy_helper

from crossrun_export import runtime
from crossrun_export.convert import INPUT
from crossrun_export.errors import ExportError
from crossrun_export.foreign import batch as batches
from crossrun_export.foreign import entrance, pixels
from crossrun_export.foreign.source import Axes, ForeignSource, Output, Picture
from crossrun_export.scaling import CHOICES, Scaling, parse

SIZE = 8, 6
EXAMPLES = np.random.default_rng(5).integers(0, 256, (3, *SIZE, 3), np.uint8)


def source(  # noqa: PLR0913 - each is one property of a source
    nodes: Sequence[onnx.NodeProto] = (),
    *,
    name: str = "pictures",
    axes: Axes = "NHWC",
    dtype: str = "float32",
    batch: int = -1,
    constants: Sequence[onnx.TensorProto] = (),
) -> ForeignSource:
    """A graph that returns as `seen` what it is given, or what `nodes` make of that."""
    sides = [*SIZE, 3] if axes == "NHWC" else [3, *SIZE]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Identity", [name], ["seen"])],
        "foreign",
        [helper.make_tensor_value_info(name, kind, [batch if batch > 0 else None, *sides])],
        [helper.make_tensor_value_info("seen", kind, None)],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ForeignSource(
        name="foreign",
        runtime="onnxruntime",
        graph=model,
        picture=Picture(name, np.dtype(dtype), axes, batch, SIZE),
        outputs=(Output("seen", np.dtype(dtype), (-1, *sides)),),
        ask=runtime.asking(model),
        labels=(),
        sha256="0" * 64,
        save=lambda _: None,
        file="source.onnx",
    )


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def served(one: ForeignSource, scaling: Scaling = CHOICES["0..1"]) -> onnx.ModelProto:
    return entrance.served(one, scaling, "uint8", EXAMPLES)


# --- Pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*CHOICES, "scale=0.01/0.02/0.03,offset=-1/0/2,color=BGR"])
@pytest.mark.parametrize("axes", ["NHWC", "NCHW"])
@pytest.mark.parametrize("name", ["pictures", "image"])
def test_the_graph_and_the_source_take_the_same_of_pixels(how: str, axes: Axes, name: str) -> None:
    """Scaled, ordered and turned, to the last bit; also if the source's input has our name."""
    one, scaling = source(axes=axes, name=name), parse(how)
    model = served(one, scaling)
    assert [value.name for value in model.graph.input] == ["image"]
    (found,) = runtime.outputs(model, EXAMPLES).values()
    (expected,) = entrance.answers(one, EXAMPLES, scaling).values()
    assert found.shape == ((3, *SIZE, 3) if axes == "NHWC" else (3, 3, *SIZE))
    assert np.array_equal(found, expected)
    assert np.ptp(found) > 0


def test_a_source_of_bytes_takes_pixels_as_they_are() -> None:
    """Nothing has to be said of them, and nothing else can be."""
    one = source(dtype="uint8")
    assert entrance.preprocessing(one, None).scaling.name == "0..255"
    (found,) = runtime.outputs(served(one, CHOICES["0..255"]), EXAMPLES).values()
    assert np.array_equal(found, EXAMPLES)
    with pytest.raises(ExportError, match=r"takes uint8, which are pixels 0..255; leave --pixels"):
        entrance.preprocessing(one, "-1..1")
    with pytest.raises(ExportError, match=r"--input-dtype float32: .* takes uint8"):
        entrance.served(one, CHOICES["0..255"], "float32", EXAMPLES)


def test_a_graph_of_floats_takes_what_the_source_takes() -> None:
    """Then only the axes are turned."""
    one, scaling = source(axes="NCHW"), CHOICES["caffe"]
    model = entrance.served(one, scaling, "float32", EXAMPLES)
    (found,) = runtime.outputs(model, scaling.apply(EXAMPLES)).values()
    assert np.array_equal(found, entrance.answers(one, EXAMPLES, scaling)["seen"])


def test_pixels_that_nothing_tells_are_refused() -> None:
    """The message says which option settles it."""
    with pytest.raises(ExportError, match=r"takes float32, and nothing tells .* --pixels: 0..255"):
        entrance.preprocessing(source(), None)


def first_weights(before: Sequence[onnx.NodeProto], *constants: float) -> ForeignSource:
    """A graph that computes `before` of `pictures`, with c0, c1 …, then a product with weights."""
    weights = np.random.default_rng(3).normal(size=(3, 3)).astype(np.float32)
    tensors = [numpy_helper.from_array(np.array(value, np.float32), f"c{i}") for i, value in
               enumerate(constants)]  # fmt: skip
    nodes = [*before, node("MatMul", f"{before[-1].output[0]} weights", "seen")]
    return source(nodes, constants=[*tensors, numpy_helper.from_array(weights, "weights")])


@pytest.mark.parametrize(
    ("by", "less", "told"), [(1 / 127.5, 1.0, "0..255"), (1 / 255, 0.0, "0..255"), (2, 1, "0..1")]
)
def test_a_graph_that_scales_pixels_tells_their_range(by: float, less: float, told: str) -> None:
    """What it makes of them before its first weights has to make sense."""
    one = first_weights(
        [node("Mul", "pictures c0", "scaled"), node("Sub", "scaled c1", "moved")],
        by, less,
    )  # fmt: skip
    found = entrance.preprocessing(one, None)
    assert found.scaling == CHOICES[told]
    assert "before its first weights" in found.because
    other = entrance.preprocessing(one, "torch")
    assert other.because.startswith(f"asked for, though {told} is expected: its graph makes")


def test_a_graph_that_does_nothing_to_pixels_tells_nothing() -> None:
    one = first_weights([node("Identity", "pictures", "same")])
    assert pixels.told(one.graph, one.picture) is None
    squared = first_weights([node("Mul", "pictures pictures", "squared")])
    assert pixels.told(squared.graph, squared.picture) is None


# --- Rows ------------------------------------------------------------------------------------


def batch_of(nodes: Sequence[onnx.NodeProto], batch: int = -1, **constants: NDArray[Any]) -> int:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return batches.of(served(source(nodes, batch=batch, constants=tensors)), INPUT)


def test_rows_that_leave_each_other_alone_share_a_run() -> None:
    """Also if the source's own batch was fixed: what does not need that is freed."""
    for batch in (-1, 1):
        assert batch_of([node("Relu", "pictures", "seen")], batch) == -1


@pytest.mark.parametrize(
    "nodes",
    [
        [node("ReduceMean", "pictures", "mean", axes=[0]), node("Sub", "pictures mean", "seen")],
        [
            node("Shape", "pictures", "count", end=1),
            node("Cast", "count", "rows", to=Tp.FLOAT),
            node("Div", "pictures rows", "seen"),
        ],
        [
            node("ReduceMean", "pictures", "mean", axes=[0]),
            node("Mul", "mean spot", "little"),
            node("Add", "pictures little", "seen"),
        ],
        [node("Slice", "pictures none one", "seen")],
        [node("Concat", "pictures fixed", "seen", axis=3)],
    ],
    ids=[
        "mean of the batch",
        "number of rows",
        "a single number of it",
        "first row alone",
        "as many rows as a constant",
    ],
)
def test_rows_that_do_not_are_run_one_by_one(nodes: list[onnx.NodeProto]) -> None:
    """Whatever the source says of its batch, the graph takes one picture."""
    fixed, spot = np.zeros((1, *SIZE, 3), np.float32), np.zeros((*SIZE, 3), np.float32)
    spot[0, 0, 0] = 1
    none, one = np.array([0]), np.array([1])
    assert batch_of(nodes, none=none, one=one, fixed=fixed, spot=spot) == 1


@pytest.mark.parametrize("shape", [(1, *SIZE, 3), (1, -1, 3)])
def test_a_batch_that_was_traced_is_no_limit(shape: tuple[int, ...]) -> None:
    """Exporters write the batch of one that they saw into each Reshape: it becomes any."""
    nodes = [node("Reshape", "pictures traced", "seen")]
    assert batch_of(nodes, 1, traced=np.array(shape)) == -1


def test_several_pictures_at_once_are_refused() -> None:
    with pytest.raises(ExportError, match="takes 4 pictures at once; expected one, or any number"):
        served(source(batch=4))


def test_a_graph_of_one_row_is_run_row_by_row() -> None:
    """Then it answers to all of them, in their order."""
    fixed = numpy_helper.from_array(np.array([1, *SIZE, 3]), "fixed")
    model = served(source([node("Reshape", "pictures fixed", "seen")], constants=[fixed]))
    (found,) = runtime.outputs(model, EXAMPLES).values()
    assert np.array_equal(found, CHOICES["0..1"].apply(EXAMPLES))
