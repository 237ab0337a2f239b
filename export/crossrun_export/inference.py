"""How a model is asked, on the same pixels: the original by its runtime, the export by onnxruntime.

Knows nothing of what answers mean.
"""

import numpy as np
import onnx

from crossrun_export import runtime
from crossrun_export.options import InputDtype
from crossrun_export.original import Classifier
from crossrun_export.pictures import Pixels
from crossrun_export.runtime import Inputs, Scores
from crossrun_export.scaling import Scaling

CHUNK = 256  # pictures in memory as floats at a time


def original_scores(source: Classifier, pixels: Pixels, scaling: Scaling | None = None) -> Scores:
    """Ask the original about pixels, uint8 [count, height, width, 3]; returns [count, classes].

    They are scaled as it wants them, or as `scaling` says.
    """
    how = scaling or source.preprocessing.scaling
    parts = (pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK))
    return np.concatenate(
        [source.answer(part, how) for part in parts],
        dtype=np.float32,  # also of what computes in half precision
        casting="unsafe",
    )


def onnx_scores(source: Classifier, model: onnx.ModelProto, pixels: Pixels) -> Scores:
    """Ask an exported model of one output about the same."""
    return runtime.scores(model, inputs_of(source, pixels, input_dtype(model)))


def input_dtype(model: onnx.ModelProto) -> InputDtype:
    """What an exported model of one input takes."""
    (image,) = model.graph.input
    is_uint8 = image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    return "uint8" if is_uint8 else "float32"


def inputs_of(source: Classifier, pixels: Pixels, dtype: InputDtype) -> Inputs:
    """Pixels as a model takes them: as they are, or scaled as the original wants them."""
    if dtype == "uint8":
        return pixels
    return source.preprocessing.scaling.apply(pixels)
