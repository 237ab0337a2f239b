"""Converts a Keras model to an ONNX graph. tf2onnx converts; this module says what it has to do.

tf2onnx folds batch norm into the convolutions and moves the layout change to the
entrance; the pads that Keras keeps apart are fused by onnxruntime when it loads.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import onnx

from crossrun_export import freeze, memory, simplify
from crossrun_export.backend import keras, tf2onnx
from crossrun_export.backend import tensorflow as tf
from crossrun_export.errors import ExportError
from crossrun_export.options import InputDtype
from crossrun_export.scaling import Preprocessing, Scaling

OPSET = 17
MOST_WORDS = 400  # characters of another library's error
INPUT, OUTPUT = "image", "probabilities"


class Network(Protocol):
    """A Keras model, and what has to be known to convert it."""

    @property
    def model(self) -> keras.Model:
        """Of one input."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of that, pixels."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What it takes of pixels."""


def to_onnx(source: Network, input_dtype: InputDtype) -> onnx.ModelProto:
    """Convert a classifier.

    Args:
        source: the model.
        input_dtype: "uint8" takes pixels 0 … 255 and scales them in the graph; "float32" takes
            what the Keras model takes.

    Returns:
        A model from `image` [batch, height, width, 3] RGB to `probabilities` FP32
        [batch, classes], the batch of any size.

    Raises:
        ExportError: tf2onnx cannot convert it.
    """

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: tf.cast(source.model(image, training=False), tf.float32)}

    return convert(source, input_dtype, answer)


def convert(
    source: Network, input_dtype: InputDtype, answer: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> onnx.ModelProto:
    """Convert a function of the Keras model's input that has several outputs.

    Raises:
        ExportError: tf2onnx cannot convert it, or there is too little memory.
    """
    kernels = {f"kernel_{place}": it for place, it in enumerate(_kernels(source.model))}
    _check_memory(source.model, kernels.values())
    image = tf.TensorSpec([None, *source.size, 3], tf.as_dtype(input_dtype), name=INPUT)
    signature = [image, [tf.TensorSpec(it.shape, it.dtype, name) for name, it in kernels.items()]]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def classify(image: tf.Tensor, values: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        if input_dtype == "uint8":
            image = _scaled(image, source.preprocessing.scaling)
        with _inlined(), keras.StatelessScope(zip(kernels.values(), values, strict=True)):
            return answer(image)

    try:
        with freeze.lean(), simplify.in_place():
            converted = tf2onnx.convert.from_function(
                classify, signature, opset=OPSET, custom_rewriter=[_fix_shapes, _spell_erfc]
            )
        model: onnx.ModelProto = converted[0]
        _name_batch(model)
        onnx.checker.check_model(model, full_check=True)
        captured = classify.get_concrete_function(*signature).graph.captures
        _keep_one_input(model, kernels | {inside.name: value for value, inside in captured})
    except Exception as error:  # tf2onnx raises many kinds
        why = textwrap.shorten(str(error), MOST_WORDS)  # some hold a whole stack
        raise ExportError(f"tf2onnx cannot convert {source.model.name}: {why}") from error
    return model


def check_operations(model: onnx.ModelProto) -> None:
    """Refuse operations that are none of ONNX: tf2onnx leaves in what it cannot convert."""
    kinds = {n.op_type for n in model.graph.node if not onnx.defs.has(n.op_type, n.domain)}
    if kinds:
        names = ", ".join(sorted(kind.removeprefix("TFL_") for kind in kinds))
        raise ExportError(f"ONNX has nothing for TensorFlow's {names}")


@contextmanager
def _inlined() -> Iterator[None]:
    """Let functions inside the model become part of the graph.

    Keras compiles grouped convolutions with XLA, in a function that tf2onnx would not open.
    """
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _scaled(image: tf.Tensor, scaling: Scaling) -> tf.Tensor:
    """Scale pixels as `Scaling.apply` does."""
    ordered = image[..., ::-1] if scaling.color == "BGR" else image
    scale, offset = scaling.shortest
    return tf.cast(ordered, tf.float32) * scale + offset


def _fix_shapes(graph: "tf2onnx.graph.Graph", nodes: list[Any]) -> list[Any]:
    """Give each Reshape a constant shape where only the batch is unknown.

    Keras computes it from the input's shape. tf2onnx folds that only if none of its transposes
    comes between the two, which depends on the order of a set of names: on the run.
    """
    for node in nodes:
        shape = graph.get_shape(node.output[0]) if node.type == "Reshape" else None
        if shape and shape.count(-1) == 1:
            constant = graph.make_const(f"{node.name}_fixed", np.array(shape, np.int32))
            graph.replace_inputs(node, [node.input[0], constant.output[0]])
    return nodes


def _spell_erfc(graph: "tf2onnx.graph.Graph", nodes: list[Any]) -> list[Any]:
    """Write Erfc as 1 - Erf: a GELU uses it, and ONNX has no such operation."""
    for node in [node for node in nodes if node.type == "Erfc"]:
        (x,), (y,) = node.input, node.output
        dtype = graph.get_dtype(y)
        same = {"shapes": [graph.get_shape(y)], "dtypes": [dtype]}
        one = np.ones((), onnx.helper.tensor_dtype_to_np_dtype(dtype))
        one, erf = graph.make_const(f"{node.name}_one", one), graph.make_node("Erf", [x], **same)
        rest = graph.make_node("Sub", [one.output[0], erf.output[0]], **same)
        graph.replace_all_inputs(y, rest.output[0])
        graph.remove_node(node.name)
    changed: list[Any] = graph.get_nodes()
    return changed


def _kernels(model: keras.Model) -> list[keras.Variable]:
    """The weights that no step of the conversion changes: those of products of matrices.

    They are inputs of the graph until its end: TensorFlow and tf2onnx hold each constant a dozen
    times at once, and the largest networks are mostly such weights.
    """
    layers = dict.fromkeys(it for it in model._flatten_layers() if it.built)
    dense = [(it.kernel, it) for it in layers if type(it) is keras.layers.Dense]
    return [
        kernel
        for kernel, layer in dense
        if isinstance(kernel, keras.Variable) and kernel.dtype == layer.compute_dtype
    ]


def _check_memory(model: keras.Model, kernels: Iterable[keras.Variable]) -> None:
    """Refuse a conversion that the system would end."""
    of_all, of_kernels = (sum(_bytes(it) for it in some) for some in (model.weights, kernels))
    memory.check(model.name, memory.needed(of_all, of_kernels))


def _bytes(variable: keras.Variable) -> int:
    return int(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size)


def _keep_one_input(model: onnx.ModelProto, values: Mapping[str, Any]) -> None:
    """Make constants of all inputs but the image: kernels, and what the function captured.

    A Normalization's tensors are captured, and tf2onnx makes inputs of them.
    """
    taken = {name for node in model.graph.node for name in node.input}
    (image,) = [value for value in model.graph.input if value.name == INPUT]
    for name in [value.name for value in model.graph.input if value.name in taken]:
        if name != INPUT:
            constant = keras.ops.convert_to_numpy(values[name])
            model.graph.initializer.append(onnx.numpy_helper.from_array(constant, name))
    del model.graph.input[:]
    model.graph.input.append(image)


def _name_batch(model: onnx.ModelProto) -> None:
    """Let the first axis of the image and of what is made of it be the batch."""
    (image,) = [value for value in model.graph.input if value.name == INPUT]
    for value in (image, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
