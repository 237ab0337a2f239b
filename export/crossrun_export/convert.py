"""A Keras classifier to an ONNX graph. The conversion is tf2onnx's; here is what is asked of it.

tf2onnx folds batch norm into the convolutions and moves the layout change to the
entrance; the pads that Keras keeps apart are fused by onnxruntime when it loads.
"""

import onnx

from crossrun_export.backend import tensorflow as tf
from crossrun_export.backend import tf2onnx
from crossrun_export.errors import ExportError
from crossrun_export.options import InputDtype
from crossrun_export.sources import Source

OPSET = 17
INPUT, OUTPUT = "image", "probabilities"


def to_onnx(source: Source, input_dtype: InputDtype) -> onnx.ModelProto:
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
    shape = [None, *source.size, 3]
    signature = [tf.TensorSpec(shape, tf.as_dtype(input_dtype), name=INPUT)]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
        if input_dtype == "uint8":
            image = tf.cast(image, tf.float32) * source.scale + source.offset
        return {OUTPUT: source.model(image, training=False)}

    try:
        converted = tf2onnx.convert.from_function(classify, input_signature=signature, opset=OPSET)
        model: onnx.ModelProto = converted[0]
        _keep_one_input(model)
        _name_batch(model)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # tf2onnx raises many kinds
        raise ExportError(f"tf2onnx cannot convert {source.model.name}: {error}") from error
    return model


def _keep_one_input(model: onnx.ModelProto) -> None:
    """Of constants that a Normalization captured, tf2onnx leaves inputs that no node takes."""
    (image,) = [value for value in model.graph.input if value.name == INPUT]
    del model.graph.input[:]
    model.graph.input.append(image)


def _name_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
