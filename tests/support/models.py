"""Tiny ONNX models, made by hand: whatever needs no MobileNet is tested with these."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as Tp
from onnx import helper

OPSETS = [helper.make_opsetid("", 17)]

# Datatype on the wire → element type in ONNX: all that ONNX models use.
ELEMENT_TYPES = {
    "BOOL": Tp.BOOL,
    "UINT8": Tp.UINT8,
    "UINT16": Tp.UINT16,
    "UINT32": Tp.UINT32,
    "UINT64": Tp.UINT64,
    "INT8": Tp.INT8,
    "INT16": Tp.INT16,
    "INT32": Tp.INT32,
    "INT64": Tp.INT64,
    "FP16": Tp.FLOAT16,
    "FP32": Tp.FLOAT,
    "FP64": Tp.DOUBLE,
    "BF16": Tp.BFLOAT16,
    "BYTES": Tp.STRING,
}


def write_all(root: Path) -> Path:
    """Write every model of this module into a repository."""
    for datatype, element_type in ELEMENT_TYPES.items():
        write(root, f"identity_{datatype.lower()}", identity(element_type, ["batch", "width"]))
    write(root, "scalar", identity(Tp.FLOAT, []), "max_batch_size: 0")
    write(root, "rank5", identity(Tp.FLOAT, ["batch", 2, 1, 3, "w"]))
    write(root, "reshaped", identity(Tp.FLOAT, ["batch", 2, 3]), RESHAPED_CONFIG)
    write(root, "unfolded", identity(Tp.FLOAT, [1, 4, 1, 1]), UNFOLDED_CONFIG)
    write(root, "simple", sum_and_difference(), "max_batch_size: 8\ndynamic_batching {}")
    write(root, "gather", gather(), "max_batch_size: 8\ndynamic_batching {}")
    write(root, "slow", slow(), SLOW_CONFIG)
    write(root, "colours", colours(), COLOURS_CONFIG, labels=["red", "green", "blue"])
    write(root, "two_faced", two_faced(), TWO_FACED_CONFIG, labels=["cat", "", "dog"])
    (root / "two_faced" / "moods.txt").write_text("calm\nwild\n\n")
    write(root, "named", identity(Tp.FLOAT, ["batch", "width"]), NAMED_CONFIG, ["cat", "dog"])
    write(root, "counted", identity(Tp.FLOAT, ["batch", 1]), version=1)
    write(root, "counted", identity(Tp.FLOAT, ["batch", 2]), VERSIONS_CONFIG, version=3)
    return root


def write(  # noqa: PLR0913, PLR0917 - a model has that many parts
    root: Path,
    name: str,
    model: onnx.ModelProto,
    config: str = "",
    labels: list[str] | None = None,
    version: int = 1,
) -> None:
    """Write one version of a model; without a config the server has to complete it."""
    folder = root / name / str(version)
    folder.mkdir(parents=True)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    if config:
        (root / name / "config.pbtxt").write_text(config)
    if labels:
        (root / name / "labels.txt").write_text("\n".join(labels) + "\n")


def identity(
    element_type: int, shape: list[str | int], x: str = "x", y: str = "y"
) -> onnx.ModelProto:
    """`x` → `y`, unchanged."""
    return model_of(
        [helper.make_node("Identity", [x], [y])],
        [helper.make_tensor_value_info(x, element_type, shape)],
        [helper.make_tensor_value_info(y, element_type, shape)],
    )


def scale(factor: float) -> onnx.ModelProto:
    """`x` FP32 [batch, 1] → `y`, so many times as much: tells versions apart."""
    values = [helper.make_tensor_value_info(name, Tp.FLOAT, ["batch", 1]) for name in "xy"]
    factors = helper.make_tensor("factor", Tp.FLOAT, [], [factor])
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    return model_of([node], values[:1], values[1:], [factors])


def weigh() -> onnx.ModelProto:
    """`x` FP32 [batch, any] → `y`, its sum; does not say that it fails unless `x` is 3 wide."""
    weights = helper.make_tensor("weights", Tp.FLOAT, [3, 1], [1.0] * 3)
    return model_of(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        [helper.make_tensor_value_info("x", Tp.FLOAT, ["batch", "any"])],
        [helper.make_tensor_value_info("y", Tp.FLOAT, ["batch", 1])],
        [weights],
    )


def batch_sum() -> onnx.ModelProto:
    """`x` FP32 [batch, 1] → `y` of its shape: in each row the sum over the whole batch."""
    values = [helper.make_tensor_value_info(name, Tp.FLOAT, ["batch", 1]) for name in "xy"]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"]),
        helper.make_node("Mul", ["x", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "sum"], ["y"]),
    ]
    nothing = helper.make_tensor("nothing", Tp.FLOAT, [], [0.0])
    return model_of(nodes, values[:1], values[1:], [nothing])


def sum_and_difference(element_type: int = Tp.INT32) -> onnx.ModelProto:
    """`INPUT0`, `INPUT1` [batch, 16] → their sum `OUTPUT0` and difference `OUTPUT1`.

    Of any element type: onnxruntime adds few of them on the CPU, so that others are added as INT32.
    """
    inputs, outputs = ["INPUT0", "INPUT1"], ["OUTPUT0", "OUTPUT1"]
    values = [
        helper.make_tensor_value_info(name, element_type, ["batch", 16])
        for name in inputs + outputs
    ]
    before = [helper.make_node("Cast", [n], [f"{n}_int"], to=Tp.INT32) for n in inputs]
    after = [helper.make_node("Cast", [f"{n}_int"], [n], to=element_type) for n in outputs]
    if element_type == Tp.INT32:
        before, after = [], []
    terms = [node.output[0] for node in before] or inputs
    found = [node.input[0] for node in after] or outputs
    sums = [helper.make_node("Add", terms, found[:1]), helper.make_node("Sub", terms, found[1:])]
    return model_of(before + sums + after, values[:2], values[2:])


def gather() -> onnx.ModelProto:
    """`index` INT64 [batch, 1] → `y`, which of ten values it names; any other index fails."""
    table = helper.make_tensor("table", Tp.FLOAT, [10], np.arange(10, dtype=np.float32))
    return model_of(
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        [helper.make_tensor_value_info("index", Tp.INT64, ["batch", 1])],
        [helper.make_tensor_value_info("y", Tp.FLOAT, ["batch", 1])],
        [table],
    )


def slow() -> onnx.ModelProto:
    """`turns` INT64 [1] → `y` FP32 [1]: counts up to `turns` one by one, a million in seconds."""
    values = {
        "i": helper.make_tensor_value_info("i", Tp.INT64, []),
        "go_on": helper.make_tensor_value_info("go_on", Tp.BOOL, []),
        "sum": helper.make_tensor_value_info("sum", Tp.FLOAT, [1]),
        "still": helper.make_tensor_value_info("still", Tp.BOOL, []),
        "more": helper.make_tensor_value_info("more", Tp.FLOAT, [1]),
    }
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Add", ["sum", "one"], ["more"]),
        ],
        "body",
        [values["i"], values["go_on"], values["sum"]],
        [values["still"], values["more"]],
        [helper.make_tensor("one", Tp.FLOAT, [1], [1.0])],
    )
    return model_of(
        [helper.make_node("Loop", ["turns", "", "zero"], ["y"], body=body)],
        [helper.make_tensor_value_info("turns", Tp.INT64, [1])],
        [helper.make_tensor_value_info("y", Tp.FLOAT, [1])],
        [helper.make_tensor("zero", Tp.FLOAT, [1], [0.0])],
    )


def dice() -> onnx.ModelProto:
    """`x` FP32 [batch, width] → `y`, `z` of its shape: random, and different at every run."""
    values = {
        name: helper.make_tensor_value_info(name, Tp.FLOAT, ["batch", "width"]) for name in "xyz"
    }
    nodes = [helper.make_node("RandomUniformLike", ["x"], [name]) for name in "yz"]
    return model_of(nodes, [values["x"]], [values["y"], values["z"]])


def colours() -> onnx.ModelProto:
    """`image` UINT8 [batch, 8, 8, 3] → `scores`: the mean of each channel, 0 to 1."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=Tp.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["scores"]),
    ]
    return model_of(
        nodes,
        [helper.make_tensor_value_info("image", Tp.UINT8, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("scores", Tp.FLOAT, ["batch", 3])],
        [helper.make_tensor("white", Tp.FLOAT, [], [255.0])],
    )


def colours_of_any_size(
    shape: Sequence[str | int] = ("batch", "height", "width", 3),
) -> onnx.ModelProto:
    """`colours` of pictures of any size."""
    model = colours()
    value = helper.make_tensor_value_info("image", Tp.UINT8, shape)
    model.graph.input[0].CopyFrom(value)
    model.graph.output[0].type.tensor_type.shape.dim[0].CopyFrom(
        value.type.tensor_type.shape.dim[0]
    )
    return model


def zipmap() -> onnx.ModelProto:
    """`x` FP32 [batch, 2] → `y`: a dictionary of each row, as converters of scikit-learn write."""
    pairs = helper.make_map_type_proto(Tp.INT64, helper.make_tensor_type_proto(Tp.FLOAT, []))
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    model = model_of(
        [node],
        [helper.make_tensor_value_info("x", Tp.FLOAT, ["batch", 2])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(pairs))],
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return model


def pictured_conv() -> onnx.ModelProto:
    """`image` UINT8 [batch, 8, 8, 3] → `scores` [batch, 4]: `conv` on pictures."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=Tp.FLOAT),
        helper.make_node("Transpose", ["float"], ["x"], perm=[0, 3, 1, 2]),
        *conv().graph.node,
        helper.make_node("Flatten", ["y"], ["scores"]),
    ]
    return model_of(
        nodes,
        [helper.make_tensor_value_info("image", Tp.UINT8, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("scores", Tp.FLOAT, ["batch", 4])],
        list(conv().graph.initializer),
    )


def conv(scale: float = 1.0) -> onnx.ModelProto:
    """`x` FP32 [batch, 3, 8, 8] → `y` [batch, 4, 1, 1]: a net that every provider takes."""
    weights = np.linspace(-scale, scale, 4 * 3 * 3 * 3, dtype=np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["y"]),
    ]
    return model_of(
        nodes,
        [helper.make_tensor_value_info("x", Tp.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", Tp.FLOAT, ["batch", 4, 1, 1])],
        [helper.make_tensor("w", Tp.FLOAT, [4, 3, 3, 3], weights)],
    )


def largest_products() -> onnx.ModelProto:
    """`x` UINT8 [batch, 64] → `y` INT32 [batch, 16], by weights that are all 127.

    With x all 255, any two products together are too much for 16 bits.
    """
    return model_of(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        [helper.make_tensor_value_info("x", Tp.UINT8, ["batch", 64])],
        [helper.make_tensor_value_info("y", Tp.INT32, ["batch", 16])],
        [helper.make_tensor("w", Tp.INT8, [64, 16], np.full(64 * 16, 127))],
    )


def int8(model: onnx.ModelProto, samples: list[dict[str, np.ndarray]]) -> onnx.ModelProto:
    """The same model with int8 weights and activations, calibrated on samples of its inputs."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._rest, None)

    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        # Seven bits of weight: eight overflow the 16-bit sums of processors without VNNI.
        quantize_static(model, file.name, Samples(), per_channel=True, reduce_range=True)
        return onnx.load(file.name)


def dominant_colour(
    x: str, y: str, shape: list[str | int], height_and_width: tuple[int, int]
) -> onnx.ModelProto:
    """`x` FP32, one picture or a batch → `y` [1000] each: the mean of each channel, then zeros."""
    classes = helper.make_tensor("classes", Tp.FLOAT, [3, 1000], np.eye(3, 1000, dtype=np.float32))
    nodes = [
        helper.make_node("ReduceMean", [x], ["mean"], axes=height_and_width, keepdims=0),
        helper.make_node("MatMul", ["mean", "classes"], [y]),
    ]
    return model_of(
        nodes,
        [helper.make_tensor_value_info(x, Tp.FLOAT, shape)],
        [helper.make_tensor_value_info(y, Tp.FLOAT, [*shape[:-3], 1000])],
        [classes],
    )


def determinant() -> onnx.ModelProto:
    """`x` FP32 [batch, 4, 4] → `y` [batch]: a Relu for any provider, a Det for the CPU alone."""
    return model_of(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["y"])],
        [helper.make_tensor_value_info("x", Tp.FLOAT, ["batch", 4, 4])],
        [helper.make_tensor_value_info("y", Tp.FLOAT, ["batch"])],
    )


def two_faced() -> onnx.ModelProto:
    """`x` FP32 [3] → `animal`, as it is, and `mood` INT32 [3], as whole numbers."""
    nodes = [
        helper.make_node("Identity", ["x"], ["animal"]),
        helper.make_node("Cast", ["x"], ["mood"], to=Tp.INT32),
    ]
    return model_of(
        nodes,
        [helper.make_tensor_value_info("x", Tp.FLOAT, [3])],
        [
            helper.make_tensor_value_info("animal", Tp.FLOAT, [3]),
            helper.make_tensor_value_info("mood", Tp.INT32, [3]),
        ],
    )


COLOURS_CONFIG = """
max_batch_size: 4
dynamic_batching {}
output [{ name: "scores" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }]
parameters { key: "scores" value { string_value: "sigmoid" } }
"""
TWO_FACED_CONFIG = """
output [
  { name: "animal" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" },
  { name: "mood" data_type: TYPE_INT32 dims: [3] label_filename: "moods.txt" }
]
"""
NAMED_CONFIG = """
max_batch_size: 4
output [{ name: "y" data_type: TYPE_FP32 dims: [-1] label_filename: "labels.txt" }]
"""
RESHAPED_CONFIG = """
max_batch_size: 4
input [{ name: "x" data_type: TYPE_FP32 dims: [6] reshape { shape: [2, 3] } }]
output [{ name: "y" data_type: TYPE_FP32 dims: [3, -1] reshape { shape: [2, 3] } }]
"""
UNFOLDED_CONFIG = """
input [{ name: "x" data_type: TYPE_FP32 dims: [4] reshape { shape: [1, 4, 1, 1] } }]
output [{ name: "y" data_type: TYPE_FP32 dims: [4] reshape { shape: [1, 4, 1, 1] } }]
"""
# For models whose rows mix and that are to have batches all the same.
VOUCHED = "parameters { key: 'rows_independent' value { string_value: 'true' } }\n"
# For models whose next request is to wait for the one before.
ONE_AT_A_TIME = "parameters { key: 'plan' value { string_value: '1x1' } }\n"
SLOW_CONFIG = ONE_AT_A_TIME + "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"
VERSIONS_CONFIG = "max_batch_size: 2\nversion_policy { all {} }"


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=8)
