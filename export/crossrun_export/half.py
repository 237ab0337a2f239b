"""A float model in fp16, for graphics cards: onnxruntime's own conversion.

Inputs and outputs keep their types: pixels come as UINT8, scores leave as FP32.
"""

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from crossrun_export.errors import ExportError


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a copy of a model.

    Raises:
        ExportError: onnxruntime cannot convert it.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        converted = OnnxModel(convert_float_to_float16(copy, keep_io_types=True))
        converted.topological_sort()  # the casts were put at the end
        onnx.checker.check_model(converted.model, full_check=True)
    except Exception as error:  # the conversion raises many kinds
        why = " ".join(str(error).split())
        raise ExportError(f"fp16: onnxruntime cannot convert the model: {why}") from error
    half: onnx.ModelProto = converted.model
    return half
