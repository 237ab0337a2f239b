"""Makes the proof of a classifier: asks Keras and the exported model about the same pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from crossrun_export import localize, proof, runtime, verify
from crossrun_export.errors import ExportError
from crossrun_export.localize import Localizer
from crossrun_export.options import Precision, Tolerance
from crossrun_export.pictures import Pictures, Pixels
from crossrun_export.proof import Bounds, Origin, Proof
from crossrun_export.runtime import Outputs, Scores
from crossrun_export.sources import Source


def classifier(
    source: Source,
    model: onnx.ModelProto,
    precision: Precision,
    tolerance: Tolerance,
    parts: Localizer | None = None,
) -> Callable[[Pixels], Proof]:
    """What makes the proof of a classifier on some pictures.

    Args:
        source: the original.
        model: in the precision to prove.
        precision: which that is.
        tolerance: of the model in full precision.
        parts: of a classifier that says where.

    Returns:
        A function that raises ExportError where the model is not what was verified.
    """
    (image,) = model.graph.input
    is_uint8 = image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    scores = model.graph.output[0].name

    def make(pixels: Pixels) -> Proof:
        inputs = verify.inputs_of(source, pixels, "uint8" if is_uint8 else "float32")
        expected = verify.keras_scores(source, pixels)
        got = runtime.outputs(model, inputs)[scores]
        max_diff, least = _bounds(expected, got, precision, tolerance)
        outputs: Outputs = {scores: expected}
        bounds = {scores: max_diff}
        if parts is not None:
            floats = verify.inputs_of(source, pixels, "float32")
            maps = localize.answers(parts, floats, expected, max_diff)
            outputs |= {name: values for name, (values, _) in maps.items()}
            bounds |= {name: allowed for name, (_, allowed) in maps.items()}
        return Proof({image.name: inputs}, outputs, Bounds(bounds, least), {"classes": scores})

    return make


def about(source: Source, precision: Precision, pictures: Pictures) -> dict[str, Any]:
    """What a proof says of itself."""
    origin: Origin = "photographs" if pictures.hashes else "drawn"
    return {"precision": precision, "origin": origin, "source_sha256": source.sha256}


def _bounds(
    expected: Scores, got: Scores, precision: Precision, tolerance: Tolerance
) -> tuple[float, float]:
    """How far from the original this precision may be anywhere."""
    difference = float(np.abs(expected - got).max())
    if precision != "fp32":
        same = proof.agreement(expected, got, proof.MARGIN * difference + tolerance.max_diff)
        return proof.reduced(difference, same, tolerance.max_diff)
    if not difference <= tolerance.max_diff:
        raise ExportError(
            f"the exported model differs by up to {difference:.2g} on the pictures of its proof, "
            f"allowed is {tolerance.max_diff:.2g}"
        )
    return tolerance.max_diff, tolerance.min_agreement
