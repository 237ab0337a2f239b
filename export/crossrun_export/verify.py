"""Does the exported model give the same answers? Both run on the same pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import runtime
from crossrun_export.errors import ExportError
from crossrun_export.options import InputDtype, Tolerance
from crossrun_export.pictures import Pixels
from crossrun_export.runtime import BATCH, Inputs, Scores
from crossrun_export.sources import Source

CHUNK = 256  # pictures in memory as floats at a time
TIE = 1e-6  # scores closer than this have no order that a change of runtime could break


@dataclass(frozen=True)
class Parity:
    """How far it is."""

    images: int
    max_abs_diff: float
    top1_agreement: float
    top5_agreement: float


def verify(expected: Scores, got: Scores, names: Sequence[str], tolerance: Tolerance) -> Parity:
    """Compare scores [count, classes] of the original and of the exported model.

    Raises:
        ExportError: out of tolerance; the message names the worst picture.
    """
    parity, worst = compare(expected, got)
    where = f"; the worst is {names[worst]}"
    if not parity.max_abs_diff <= tolerance.max_diff:  # so that NaN fails too
        raise ExportError(
            f"the exported model differs by up to {parity.max_abs_diff:.2g}, "
            f"allowed is {tolerance.max_diff:.2g}{where}"
        )
    agreement = min(parity.top1_agreement, parity.top5_agreement)
    if not agreement >= tolerance.min_agreement:
        raise ExportError(
            f"the exported model agrees on {agreement:.2%} of {len(names)} pictures, "
            f"required are {tolerance.min_agreement:.2%}{where}"
        )
    return parity


def compare(expected: Scores, got: Scores) -> tuple[Parity, int]:
    """Compare scores [count, classes]; also gives the index of the picture that differs most."""
    difference = np.abs(expected - got).max(axis=1)
    parity = Parity(
        images=len(expected),
        max_abs_diff=float(difference.max()),
        top1_agreement=_agreement(expected, got, 1),
        top5_agreement=_agreement(expected, got, min(5, expected.shape[1])),
    )
    return parity, int(difference.argmax())


def _agreement(expected: Scores, got: Scores, k: int) -> float:
    """Share of pictures whose k best classes are among the k best of the original, ties aside."""
    chosen = best(got, k)
    least = -np.sort(-expected, axis=1)[:, k - 1]
    scores = np.take_along_axis(expected, chosen, axis=1)
    return float((scores.min(axis=1) >= least - TIE).mean())


def best(scores: Scores, k: int) -> NDArray[np.int64]:
    """The k best classes of each picture, best first: [count, k]."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def keras_scores(source: Source, pixels: Pixels) -> Scores:
    """What the original says of pixels, uint8 [count, height, width, 3]: [count, classes]."""
    parts = (pixels[start : start + CHUNK] for start in range(0, len(pixels), CHUNK))
    return np.concatenate(
        [
            source.model.predict(inputs_of(source, part, "float32"), batch_size=BATCH, verbose=0)
            for part in parts
        ]
    )


def onnx_scores(source: Source, model: onnx.ModelProto, pixels: Pixels) -> Scores:
    """What an exported model says of them."""
    (image,) = model.graph.input
    is_uint8 = image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    return runtime.scores(model, inputs_of(source, pixels, "uint8" if is_uint8 else "float32"))


def inputs_of(source: Source, pixels: Pixels, dtype: InputDtype) -> Inputs:
    """Pixels as a model takes them: as they are, or scaled as the Keras model wants them."""
    if dtype == "uint8":
        return pixels
    return source.preprocessing.scaling.apply(pixels)
