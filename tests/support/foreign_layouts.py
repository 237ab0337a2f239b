"""Sources of other layouts: what runs them, what they say of their outputs, what is like what."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from crossrun_export.detector import suppress
from crossrun_export.detector.measure import Detections
from crossrun_export.foreign.source import Output
from crossrun_export.runtime import Outputs


def run(model: onnx.ModelProto, image: Any, **asked: Any) -> Outputs:
    """All outputs by name; `asked` are optional inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image, **asked}), strict=True))


def outputs_of(model: onnx.ModelProto) -> list[Output]:
    """The outputs as a source would tell them; a size with a name is any."""
    return [
        Output(
            value.name,
            helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            tuple(d.dim_value or -1 for d in value.type.tensor_type.shape.dim),
        )
        for value in model.graph.output
    ]


def detections(outputs: Outputs) -> Detections:
    return Detections(*(outputs[name] for name in suppress.OUTPUTS))


def assert_like(one: Detections, other: Detections) -> None:
    """The same detections in the same order."""
    assert one.found.tolist() == other.found.tolist()
    for row, count in enumerate(one.found):
        assert one.classes[row, :count].tolist() == other.classes[row, :count].tolist()
        np.testing.assert_allclose(one.scores[row, :count], other.scores[row, :count], atol=1e-4)
        np.testing.assert_allclose(one.boxes[row, :count], other.boxes[row, :count], atol=1e-5)
