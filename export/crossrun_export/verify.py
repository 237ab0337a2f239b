"""Does the exported model give the same answers? Both run on the same pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from crossrun_export import scenes
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Tolerance
from crossrun_export.sources import Source

Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]

BATCH = 8
DRAWN_SEED = 2024
DRAWN_COUNT = 4 * BATCH + 1  # the last batch is a single picture: any size has to work
TIE = 1e-6  # scores closer than this have no order that a change of runtime could break


@dataclass(frozen=True)
class Parity:
    """How far it is."""

    images: int
    max_abs_diff: float
    top1_agreement: float
    top5_agreement: float


def pictures(source: Source, folder: Path | None) -> tuple[Pixels, list[str]]:
    """Get pixels to compare on, and a name for each picture.

    Args:
        source: the model, which says the size.
        folder: photographs to use, also in folders below; None draws scenes.

    Returns:
        uint8 [count, height, width, 3] and the names.

    Raises:
        ExportError: the folder holds no picture, or one cannot be read.
    """
    if folder is None:
        pixels, _ = scenes.batch(DRAWN_SEED, 0, DRAWN_COUNT, max(source.size))
        height, width = source.size
        return pixels[:, :height, :width], [f"drawn picture {i}" for i in range(len(pixels))]
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not files:
        raise ExportError(f"{folder} holds no picture (.jpg, .jpeg, .png)")
    return np.stack([_load(file, source) for file in files]), [str(file) for file in files]


def verify(
    source: Source, onnx_file: Path, pixels: Pixels, names: list[str], tolerance: Tolerance
) -> Parity:
    """Run both models and compare.

    Raises:
        ExportError: out of tolerance; the message names the worst picture.
    """
    expected, got = _keras_scores(source, pixels), _onnx_scores(source, onnx_file, pixels)
    parity, worst = compare(expected, got)
    where = f"; the worst is {names[worst]}"
    if not parity.max_abs_diff <= tolerance.max_diff:  # so that NaN fails too
        raise ExportError(
            f"the exported model differs by up to {parity.max_abs_diff:.2g}, "
            f"allowed is {tolerance.max_diff:.2g}{where}"
        )
    agreement = min(parity.top1_agreement, parity.top5_agreement)
    if agreement < tolerance.min_agreement:
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
    chosen = np.argsort(-got, axis=1, kind="stable")[:, :k]
    least = -np.sort(-expected, axis=1)[:, k - 1]
    scores = np.take_along_axis(expected, chosen, axis=1)
    return float((scores.min(axis=1) >= least - TIE).mean())


def _load(file: Path, source: Source) -> Pixels:
    try:
        image = keras.utils.load_img(file, target_size=source.size, interpolation="bilinear")
    except OSError as error:
        raise ExportError(f"{file} cannot be read: {error}") from error
    return np.asarray(image, np.uint8)


def _keras_scores(source: Source, pixels: Pixels) -> Scores:
    scores: Scores = source.model.predict(_scaled(source, pixels), batch_size=BATCH, verbose=0)
    return scores


def _scaled(source: Source, pixels: Pixels) -> Scores:
    return pixels * np.float32(source.scale) + np.float32(source.offset)


def _onnx_scores(source: Source, onnx_file: Path, pixels: Pixels) -> Scores:
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    (node,) = session.get_inputs()
    inputs = pixels if node.type == "tensor(uint8)" else _scaled(source, pixels)
    parts = [inputs[i : i + BATCH] for i in range(0, len(inputs), BATCH)]
    return np.concatenate([session.run(None, {node.name: part})[0] for part in parts])
