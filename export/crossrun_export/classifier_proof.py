"""Makes the proof of a classifier: asks it and the exported model about the same pictures."""

from collections.abc import Callable

import numpy as np
import onnx

from crossrun_export import heads, inference, localize, proof, runtime
from crossrun_export.errors import ExportError
from crossrun_export.localize import Localizer
from crossrun_export.options import Precision
from crossrun_export.original import Classifier
from crossrun_export.pictures import Pixels
from crossrun_export.proof import Bounds, Proof
from crossrun_export.runtime import Outputs, Scores
from crossrun_export.tolerance import Allowed


def prover(
    source: Classifier,
    model: onnx.ModelProto,
    precision: Precision,
    allowed: Allowed,
    parts: Localizer | None = None,
) -> Callable[[Pixels], Proof]:
    """What makes the proof of a classifier on some pictures.

    Args:
        source: the original.
        model: in the precision to prove.
        precision: which that is.
        allowed: of the model in full precision.
        parts: of a classifier that says where.

    Returns:
        A function that raises ExportError where the model is not what was verified.
    """
    (image,) = model.graph.input
    dtype = inference.input_dtype(model)
    scores = model.graph.output[0].name

    def make(pixels: Pixels) -> Proof:
        inputs = inference.inputs_of(source, pixels, dtype)
        expected = inference.original_scores(source, pixels)
        got = runtime.outputs(model, inputs)[scores]
        max_diff, least = _bounds(expected, got, precision, allowed)
        outputs: Outputs = {scores: expected}
        bounds = {scores: max_diff}
        if parts is not None:
            floats = inference.inputs_of(source, pixels, "float32")
            maps = localize.answers(parts, floats, expected, max_diff)
            outputs |= {name: values for name, (values, _) in maps.items()}
            bounds |= {name: most for name, (_, most) in maps.items()}
        notes = {"classes": scores, "decides": heads.deciding(allowed.kind)}
        return Proof({image.name: inputs}, outputs, Bounds(bounds, least), notes)

    return make


def _bounds(
    expected: Scores, got: Scores, precision: Precision, allowed: Allowed
) -> tuple[float, float]:
    """How far from the original this precision may be anywhere."""
    difference = float(np.abs(expected - got).max())
    if precision != "fp32":
        # onnxruntime's CPU provider computes fp16 in fp32; a graphics card does not.
        slack = max(allowed.max_diff, allowed.half) if precision == "fp16" else allowed.max_diff
        tie, decides = proof.MARGIN * difference + slack, heads.deciding(allowed.kind)
        same = proof.agreement(expected, got, tie, decides)
        return proof.reduced(difference, same, slack)
    if not difference <= allowed.max_diff:
        raise ExportError(
            f"the exported model differs by up to {difference:.2g} on the pictures of its proof, "
            f"allowed is {allowed.max_diff:.2g}"
        )
    return allowed.max_diff, allowed.min_agreement
