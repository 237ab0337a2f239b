"""Trains the bundled model on pictures this project draws, and measures what it reached.

The model is Keras's own MobileNet. Training is a curriculum of three views: the objects alone, on
black; close-ups cut out of the pictures; the whole pictures. The first two are small and cheap, and
bring a net this narrow past the long plateau it meets on whole pictures. It knows nothing of ONNX,
and nothing of where the weights are used.
"""

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from crossrun_export.backend import keras
from crossrun_export.backend import tensorflow as tf
from crossrun_export.scenes import CLASSES, Pixels, Scene, draw, draw_plain, series

NAME = "mobilenet_0.25_96"
ALPHA = 0.25
SIZE = 96
# A series of pictures no training sees, unless it is asked for by this very seed.
HELD_OUT_SEED = 1_000_003

_BATCH = 64
# Edge, in pixels, of the small views.
_NEAR = 48


@dataclass(frozen=True)
class Phase:
    """Some epochs on one view of some pictures, at most at the learning rate `peak`."""

    pictures: list[Scene]
    view: Callable[[Scene, np.random.Generator], Pixels]
    size: int
    epochs: int
    peak: float


def train(
    output: Path,
    *,
    pictures: int = 20_000,
    epochs: int = 20,
    seed: int = 1,
    held_out: int = 5_000,
) -> float:
    """Train on `pictures` pictures of series `seed` and return the top-1 on `held_out` others.

    Writes OUTPUT/mobilenet_0.25_96.weights.h5 (float32, weights alone) and, beside it, a .json
    with the figure and where it comes from. The defaults are those of the shipped weights.
    Raises ValueError where `seed` is the held-out series' own.
    """
    if seed == HELD_OUT_SEED:
        raise ValueError(f"seed {seed} is the held-out series; expected any other seed")
    output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    model = _fit(_phases(seed, pictures, epochs), seed)
    top1 = evaluate(model, series(draw, HELD_OUT_SEED, held_out, SIZE))
    figure = {
        "model": NAME,
        "top1": top1,
        "held_out": {"seed": HELD_OUT_SEED, "pictures": held_out},
        "training": {"seed": seed, "pictures": pictures, "epochs": epochs},
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        "classes": CLASSES,
    }
    _write(output, model, figure)
    return top1


def build(size: int = SIZE) -> Any:
    """The bundled model's architecture, untrained: float32 [N, size, size, 3] to [N, 10]."""
    return keras.applications.MobileNet(
        alpha=ALPHA,
        input_shape=(size, size, 3),
        weights=None,
        classes=len(CLASSES),
    )


def evaluate(model: Any, pictures: list[Scene]) -> float:
    """The share of `pictures`, 96 x 96 each, whose label the model puts first: top-1."""
    right = 0
    for start in range(0, len(pictures), 250):
        part = pictures[start : start + 250]
        scores = model.predict_on_batch(_scaled(np.stack([each.pixels for each in part])))
        right += int((scores.argmax(axis=1) == [each.label for each in part]).sum())
    return right / len(pictures)


def _scaled(pixels: Pixels) -> NDArray[np.float32]:
    """As `mobilenet.preprocess_input` does: 0 … 255 becomes -1 … 1."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def _phases(seed: int, count: int, epochs: int) -> list[Phase]:
    plain = series(draw_plain, seed, count, _NEAR)
    pictures = series(draw, seed, count, SIZE)
    alone, near = round(0.3 * epochs), round(0.4 * epochs)
    return [
        Phase(plain, _whole, _NEAR, alone, peak=3e-3),
        Phase(pictures, _close_up, _NEAR, near, peak=3e-3),
        Phase(pictures, _whole, SIZE, epochs - alone - near, peak=2e-3),
    ]


def _fit(phases: list[Phase], seed: int) -> Any:
    model = build()
    for phase in phases:
        # Every layer is convolutional, so the same weights fit every size.
        weights, model = model.get_weights(), build(phase.size)
        model.set_weights(weights)
        data = _Shuffled(phase, seed)
        _compile(model, phase.peak, steps=max(2, phase.epochs * len(data)))
        model.fit(data, epochs=phase.epochs)
    return model


def _compile(model: Any, peak: float, steps: int) -> None:
    warm_up = math.ceil(steps / 20)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=peak, warmup_steps=warm_up
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-3),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.03),
        metrics=["accuracy"],
        jit_compile=False,  # XLA's depthwise gradients are five times slower on a CPU
    )


class _Shuffled(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches in a new order each epoch, mirrored, turned and with colour channels swapped."""

    def __init__(self, phase: Phase, seed: int) -> None:
        super().__init__()
        self._pictures, self._view = phase.pictures, phase.view
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return max(1, len(self._pictures) // _BATCH)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = [self._pictures[k] for k in self._order[index * _BATCH : (index + 1) * _BATCH]]
        pixels = np.stack([self._varied(picture) for picture in chosen])
        truth = np.eye(len(CLASSES), dtype=np.float32)[[picture.label for picture in chosen]]
        return _scaled(pixels), truth

    def on_epoch_end(self) -> None:
        self._order = self._rng.permutation(len(self._pictures))

    def _varied(self, picture: Scene) -> Pixels:
        """One of the 48 pictures that mirrors, quarter turns and swapped channels make of it."""
        pixels = self._view(picture, self._rng)
        down, right = self._rng.choice((-1, 1), 2)
        turned = pixels[::down, ::right, self._rng.permutation(3)]
        return turned.swapaxes(0, 1) if self._rng.random() < 0.5 else turned


def _whole(picture: Scene, _: np.random.Generator) -> Pixels:
    return picture.pixels


def _close_up(picture: Scene, rng: np.random.Generator) -> Pixels:
    """A square around the object, off its centre by chance, 48 x 48 pixels."""
    corners = np.array(picture.box, np.float64).reshape(2, 2)
    side = min(np.ptp(corners, axis=0).max() * rng.uniform(1.1, 1.6), SIZE)
    slack = side - np.ptp(corners, axis=0)
    start = np.clip(corners[0] - slack * rng.uniform(0, 1, 2), 0, SIZE - side)
    (y, x), end = start.astype(int), int(side)
    crop = picture.pixels[y : y + end, x : x + end]
    return cast(Pixels, cv2.resize(crop, (_NEAR, _NEAR), interpolation=cv2.INTER_AREA))


def _write(output: Path, model: Any, figure: dict[str, Any]) -> None:
    # A fresh model has no optimizer, whose state would triple the file.
    bare = build()
    bare.set_weights(model.get_weights())
    with tempfile.TemporaryDirectory(dir=output, prefix=".train-") as aside:
        weights, notes = f"{NAME}.weights.h5", f"{NAME}.json"
        bare.save_weights(Path(aside) / weights)
        (Path(aside) / notes).write_text(json.dumps(figure, indent=2) + "\n")
        for name in (weights, notes):
            (Path(aside) / name).replace(output / name)
