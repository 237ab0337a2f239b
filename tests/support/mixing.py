"""Tiny ONNX models whose rows are not independent of each other, made by hand, and some like them.

All are of `x` FP32 [batch, 4] → `y`, which is of that shape where nothing else is said.
"""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto as Tp
from onnx import helper, numpy_helper

from tests.support.models import OPSETS

Node = onnx.NodeProto
node = helper.make_node
Shape = list[str | int | None]
X: Shape = ["batch", 4]
# A tensor of one number for each row: how many rows there are.
ROWS = [node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "first"], ["rows"])]


def model(
    nodes: list[Node],
    y: Shape | None = None,
    element_type: int = Tp.FLOAT,
    x: Shape | None = None,
    **constants: object,
) -> onnx.ModelProto:
    """A model of `x` → `y`, with constants of whatever numpy makes of them."""
    arrays = {"first": [0], **constants}
    graph = helper.make_graph(
        nodes,
        "mixing",
        [helper.make_tensor_value_info("x", Tp.FLOAT, x or X)],
        [helper.make_tensor_value_info("y", element_type, y or X)],
        [numpy_helper.from_array(np.array(value), name) for name, value in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8)


def found(x: str | None = "batch", y: str | None = "num_dets", width: int = 4) -> onnx.ModelProto:
    """All that is above 0 in all rows, one after the other: `y` has as many as there are."""
    nodes = [
        node("Greater", ["x", "zero"], ["over"]),
        node("Reshape", ["over", "flat"], ["flat_over"]),
        node("Reshape", ["x", "flat"], ["flat_x"]),
        node("Compress", ["flat_x", "flat_over"], ["y"], axis=0),
    ]
    return model(nodes, [y], x=[x, width], zero=np.float32(0), flat=[-1])


def renamed(x: str | None, y: str | None) -> onnx.ModelProto:
    """Independent rows; the first dimensions are called as is said."""
    return model([node("Relu", ["x"], ["y"])], x=[x, 4], y=[y, 4])


def fixed() -> onnx.ModelProto:
    """Independent rows, but of one only: the graph has a size of 1 where it says `batch`."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Min", ["shape", "one"], ["of_one"]),
        node("Reshape", ["x", "of_one"], ["y"]),
    ]
    return model(nodes, one=[1, 4])


def silent() -> onnx.ModelProto:
    """The same answer to whatever is asked."""
    nodes = [node("Mul", ["x", "zero"], ["zeros"]), node("Add", ["zeros", "one"], ["y"])]
    return model(nodes, zero=np.float32(0), one=np.float32(1))


def quiet() -> onnx.ModelProto:
    """`x` → `y`, itself, and `z`, which is 0 up to 30000: a part that made-up rows do not reach."""
    nodes = [
        node("Identity", ["x"], ["y"]),
        node("Sub", ["x", "most"], ["above"]),
        node("Relu", ["above"], ["z"]),
    ]
    made = model(nodes, most=np.float32(30000))
    made.graph.output.append(helper.make_tensor_value_info("z", Tp.FLOAT, X))
    return made


def choosy() -> onnx.ModelProto:
    """Which of twenty values each number is, from 12335 on; any other number fails."""
    nodes = [
        node("Sub", ["x", "least"], ["above"]),
        node("Cast", ["above"], ["index"], to=Tp.INT64),
        node("Gather", ["table", "index"], ["y"]),
    ]
    return model(nodes, least=np.float32(12335), table=np.arange(20, dtype=np.float32))


def recurrent() -> onnx.ModelProto:
    """Independent rows: a state goes from number to number of each."""
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 12, 1)
    nodes = [
        node("Transpose", ["x"], ["numbers"], perm=[1, 0]),
        node("Unsqueeze", ["numbers", "last"], ["sequence"]),
        node("GRU", ["sequence", "w", "r"], ["", "states"], hidden_size=4),
        node("Squeeze", ["states", "first"], ["y"]),
    ]
    return model(nodes, last=[2], w=weights, r=weights @ weights[:, :4].transpose(0, 2, 1))


def _scaled(reduce: str) -> onnx.ModelProto:
    """Every value divided by one that all rows make together."""
    nodes = [node(reduce, ["x"], ["all"], keepdims=1), node("Div", ["x", "all"], ["y"])]
    return model(nodes)


def _less_the_mean() -> onnx.ModelProto:
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["x", "mean"], ["y"]),
    ]
    return model(nodes)


def _normalised() -> onnx.ModelProto:
    """Batch normalisation in training mode, as exporters write it out."""
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["x", "mean"], ["centred"]),
        node("Mul", ["centred", "centred"], ["squares"]),
        node("ReduceMean", ["squares"], ["variance"], axes=[0], keepdims=1),
        node("Add", ["variance", "little"], ["positive"]),
        node("Sqrt", ["positive"], ["deviation"]),
        node("Div", ["centred", "deviation"], ["y"]),
    ]
    return model(nodes, little=np.float32(1e-3))


def _batch_normalization() -> onnx.ModelProto:
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    names = ["x", "scale", "bias", "mean", "variance"]
    nodes = [node("BatchNormalization", names, ["y", "m", "v"], training_mode=1)]
    return model(nodes, scale=ones, bias=zeros, mean=zeros, variance=ones)


def _dynamically_quantised() -> onnx.ModelProto:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["quantised", "step", "zero_point"]),
        node("MatMulInteger", ["quantised", "weights", "zero_point"], ["products"]),
        node("Cast", ["products"], ["floats"], to=Tp.FLOAT),
        node("Mul", ["floats", "step"], ["y"]),
    ]
    return model(nodes, weights=np.arange(-8, 8, dtype=np.int8).reshape(4, 4))


def _top_k(output: str) -> onnx.ModelProto:
    """All rows sorted, or the places from which they came."""
    outputs = ["y", "places"] if output == "values" else ["values", "y"]
    element_type = Tp.FLOAT if output == "values" else Tp.INT64
    return model([*ROWS, node("TopK", ["x", "rows"], outputs, axis=0)], element_type=element_type)


def _reversed() -> onnx.ModelProto:
    """Sequences whose batch and time have changed places."""
    nodes = [
        *ROWS,
        node("Expand", ["rows", "width"], ["lengths"]),
        node("ReverseSequence", ["x", "lengths"], ["y"], batch_axis=1, time_axis=0),
    ]
    return model(nodes, width=[4])


def _recurrent(op: str, gates: int) -> onnx.ModelProto:
    """A state that goes from row to row: the batch is taken for time."""
    weights = np.linspace(-1, 1, gates * 16, dtype=np.float32).reshape(1, gates * 4, 4)
    nodes = [
        node("Unsqueeze", ["x", "axis"], ["sequence"]),
        node(op, ["sequence", "w", "r"], ["states"], hidden_size=4),
        node("Reshape", ["states", "rows_of_4"], ["y"]),
    ]
    return model(nodes, axis=[1], rows_of_4=[-1, 4], w=weights, r=weights)


def _first_row() -> onnx.ModelProto:
    nodes = [
        node("Gather", ["x", "first"], ["one"], axis=0),
        node("Shape", ["x"], ["shape"]),
        node("Expand", ["one", "shape"], ["y"]),
    ]
    return model(nodes)


def _divided_by_rows() -> onnx.ModelProto:
    nodes = [*ROWS, node("Cast", ["rows"], ["n"], to=Tp.FLOAT), node("Div", ["x", "n"], ["y"])]
    return model(nodes)


def _numbered() -> onnx.ModelProto:
    """Each row with its place in the run added."""
    nodes = [
        *ROWS,
        node("Expand", ["one", "rows"], ["ones"]),
        node("CumSum", ["ones", "axis"], ["numbers"]),
        node("Unsqueeze", ["numbers", "columns"], ["column"]),
        node("Add", ["x", "column"], ["y"]),
    ]
    return model(nodes, one=np.float32(1), axis=0, columns=[1])


def _table() -> onnx.ModelProto:
    """Boxes of each row, 640 pixels wide, of which the first column says which row it is."""
    nodes = [
        *ROWS,
        node("Expand", ["one", "rows"], ["ones"]),
        node("CumSum", ["ones", "axis"], ["numbers"]),
        node("Unsqueeze", ["numbers", "columns"], ["column"]),
        node("Mul", ["x", "pixels"], ["boxes"]),
        node("Concat", ["column", "boxes"], ["detections"], axis=1),
        node("Unsqueeze", ["detections", "columns"], ["y"]),
    ]
    sizes = {"one": np.float32(1), "axis": 0, "columns": [1], "pixels": np.float32(64000)}
    return model(nodes, ["batch", 1, 5], **sizes)  # type: ignore[arg-type]


def labels() -> onnx.ModelProto:
    """Independent rows: which of four words each of them is."""
    nodes = [
        node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
        node("Gather", ["words", "best"], ["y"]),
    ]
    return model(nodes, ["batch"], Tp.STRING, words=np.array(["a", "b", "c", "d"], np.object_))


def _random(op: str) -> onnx.ModelProto:
    return model([node(op, ["x"], ["noise"]), node("Add", ["x", "noise"], ["y"])])


def _padded_to_the_longest() -> onnx.ModelProto:
    """As many values of each row as the longest has above 0."""
    nodes = [
        node("Greater", ["x", "zero"], ["over"]),
        node("Cast", ["over"], ["ones"], to=Tp.INT64),
        node("ReduceSum", ["ones", "last"], ["counts"], keepdims=0),
        node("ReduceMax", ["counts"], ["most"], keepdims=1),
        node("TopK", ["x", "most"], ["y", "places"], axis=1),
    ]
    return model(nodes, ["batch", "longest"], zero=np.float32(0), last=[1])


# What mixes the rows → the model.
MIXING: dict[str, Callable[[], onnx.ModelProto]] = {
    "detections of all rows": found,
    "detections of rows of one value": lambda: found("n", None, width=1),
    "softmax over the batch": lambda: model([node("Softmax", ["x"], ["y"], axis=0)]),
    "the mean of the batch": _less_the_mean,
    "batch normalisation written out": _normalised,
    "batch normalisation in training mode": _batch_normalization,
    "scaled by the largest": lambda: _scaled("ReduceMax"),
    "scaled by the norm": lambda: _scaled("ReduceL2"),
    "dynamic quantisation": _dynamically_quantised,
    "a cumulative sum": lambda: model([node("CumSum", ["x", "axis"], ["y"])], axis=0),
    "a reversed cumulative sum": lambda: model(
        [node("CumSum", ["x", "axis"], ["y"], reverse=1)], axis=0
    ),
    "sorted": lambda: _top_k("values"),
    "places after sorting": lambda: _top_k("places"),
    "reversed": _reversed,
    "an LSTM over the batch": lambda: _recurrent("LSTM", 4),
    "a GRU over the batch": lambda: _recurrent("GRU", 3),
    "equal rows once": lambda: model([node("Unique", ["x"], ["y"], axis=0, sorted=0)]),
    "the first row for all": _first_row,
    "divided by the number of rows": _divided_by_rows,
    "the place in the run": _numbered,
    "the number of its picture": _table,
    "the best row of all": lambda: model(
        [node("ArgMax", ["x"], ["y"], axis=0, keepdims=1)], element_type=Tp.INT64
    ),
    "padded to the longest": _padded_to_the_longest,
    "uniform noise": lambda: _random("RandomUniformLike"),
    "normal noise": lambda: _random("RandomNormalLike"),
    "samples": lambda: model(
        [node("Multinomial", ["x"], ["y"], sample_size=4)], element_type=Tp.INT32
    ),
    "a coin for each value": lambda: model(
        [node("Sigmoid", ["x"], ["p"]), node("Bernoulli", ["p"], ["y"])]
    ),
    "dropout in training mode": lambda: model(
        [node("Dropout", ["x", "ratio", "training"], ["y"])], ratio=np.float32(0.3), training=True
    ),
}
