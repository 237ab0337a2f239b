"""Trains a detector, and measures what it reached on pictures it has not seen.

Training that was ended goes on where it was: with the same settings and the same data it gives the
weights it would have given. It knows nothing of ONNX.
"""

import json
import math
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_export.backend import keras
from crossrun_export.backend import tensorflow as tf
from crossrun_export.detector import measure, network
from crossrun_export.detector.augment import augmented
from crossrun_export.detector.backbone import load_backbone
from crossrun_export.detector.data import DataSet
from crossrun_export.detector.loss import loss
from crossrun_export.detector.measure import AveragePrecision
from crossrun_export.detector.progress import Progress
from crossrun_export.detector.settings import Training
from crossrun_export.detector.targets import Targets
from crossrun_export.errors import ExportError

UNFINISHED = "unfinished"  # folder of what a training that was ended left
WEIGHT_DECAY = 1e-3
WARM_UP = 0.05  # of all steps


def train(data: DataSet, settings: Training, output: Path, about: str) -> AveragePrecision:
    """Train a detector and measure it on the held-out pictures.

    Writes OUTPUT/detector_ALPHA_SIZE.weights.h5 (float32, weights alone) and, beside it, a .json
    with the figures and where they come from. Until then OUTPUT/unfinished holds what it takes to
    go on.

    Args:
        data: pictures to train on, and others.
        settings: how.
        output: a folder.
        about: where the data come from, for the notes.

    Raises:
        ExportError: backbone weights do not fit, or `output` has an unfinished training that
            another data set or other settings began.
    """
    keras.utils.set_random_seed(settings.seed)
    detector = network.build(settings.alpha, settings.size, len(data.classes))
    load_backbone(detector, settings.backbone, settings.alpha)
    notes = {
        "model": detector.name,
        "classes": data.classes,
        "data": {"source": about, "pictures": len(data.training), "held_out": len(data.held_out)},
        "training": asdict(settings),
    }
    unfinished = output / UNFINISHED
    _begin(unfinished, notes)
    _fit(detector, data, settings, unfinished)
    found = measure.detect(detector, data.held_out, measure.ALL)
    reached = measure.precision((one.objects for one in data.held_out), found)
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    figures = {"map": reached.mean, "map_at_0.5": reached.at_half}
    _write(output, detector, {**figures, **notes, "versions": versions})
    return reached


def _begin(unfinished: Path, notes: dict[str, Any]) -> None:
    """Refuse to go on with what other settings or other data began."""
    unfinished.mkdir(parents=True, exist_ok=True)
    file, text = unfinished / "training.json", json.dumps(notes, indent=2)
    if file.exists() and file.read_text() != text:
        raise ExportError(
            f"{unfinished} holds another training ({file.name} tells its settings); "
            "finish that, delete it, or choose another --output"
        )
    file.write_text(text)


def _fit(detector: keras.Model, data: DataSet, settings: Training, unfinished: Path) -> None:
    corners = detector.get_layer(network.CORNERS).output
    both = keras.layers.Concatenate()([corners, detector.get_layer(network.SCORES).output])
    trained = keras.Model(detector.input, both)
    batches = Batches(data, settings)
    steps = max(2, settings.epochs * len(batches))
    warm_up = math.ceil(WARM_UP * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=settings.rate, warmup_steps=warm_up
    )
    trained.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, global_clipnorm=10.0),
        loss,
        jit_compile=False,  # XLA's depthwise gradients are five times slower on a CPU
    )
    # Variables that a graph makes while it is traced would have it traced a second time.
    trained.optimizer.build(trained.trainable_variables)
    resume = keras.callbacks.BackupAndRestore(str(unfinished / "backup"), double_checkpoint=True)
    order = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: batches.begin(epoch))
    with Progress(settings.epochs, len(batches)) as progress:
        trained.fit(batches, epochs=settings.epochs, verbose=0, callbacks=[resume, order, progress])


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Augmented pictures and what the cells should say, in another order each epoch.

    An epoch's batches depend on the seed and the epoch alone, whatever came before.
    """

    def __init__(self, data: DataSet, settings: Training) -> None:
        super().__init__()
        self._examples, self._batch, self._seed = data.training, settings.batch, settings.seed
        self._targets = Targets(settings.size, len(data.classes))
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Shuffle for an epoch."""
        self._epoch = epoch
        self._order = self._rng().permutation(len(self._examples))

    def __len__(self) -> int:
        return max(1, len(self._examples) // self._batch)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = self._rng(index)
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        views = [augmented(self._examples[place], rng) for place in chosen]
        pixels = np.stack([view.pixels for view in views])
        return measure.scaled(pixels), np.stack([self._targets(view.objects) for view in views])

    def _rng(self, *index: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self._seed, self._epoch, *index]))


def _write(output: Path, detector: keras.Model, notes: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir=output, prefix=".train-") as aside:
        weights, beside = f"{detector.name}.weights.h5", f"{detector.name}.json"
        detector.save_weights(Path(aside) / weights)
        (Path(aside) / beside).write_text(json.dumps(notes, indent=2) + "\n")
        for name in (weights, beside):
            (Path(aside) / name).replace(output / name)
    shutil.rmtree(output / UNFINISHED)
