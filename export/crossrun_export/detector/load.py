"""A detector to export: where its weights come from, and how it takes pixels."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from crossrun_export import label_file, sources
from crossrun_export.backend import keras
from crossrun_export.detector import network
from crossrun_export.detector.backbone import load_backbone
from crossrun_export.detector.settings import BUNDLED, RANDOM, Weights
from crossrun_export.errors import ExportError
from crossrun_export.sources import MOBILENETS, Source

NAME = "detector_0.25_160"  # of the bundled one


def load(weights: Weights, labels: Path | None) -> Source:
    """Build a detector and load its weights.

    Args:
        weights: where they come from.
        labels: a file with one label a line; None takes those that belong to the weights.

    Raises:
        ExportError: the weights cannot be had, or do not fit what else is asked for.
    """
    if weights.source == RANDOM:
        return _untrained(weights, labels)
    if weights.backbone is not None:
        raise ExportError("--backbone-weights is for --weights random: others hold the backbone")
    if weights.source != BUNDLED:
        return _trained(Path(weights.source), Path(weights.source).name, weights, labels)
    with resources.as_file(resources.files("crossrun_export") / "bundled") as folder:
        return _trained(folder / f"{NAME}.weights.h5", BUNDLED, weights, labels)


def _untrained(weights: Weights, labels: Path | None) -> Source:
    """Heads by chance, to measure how fast a detector would be before it is trained."""
    if labels is None:
        raise ExportError("--weights random needs --labels, which say how many classes there are")
    names = sources.read_labels(labels)
    model = _build(weights.alpha or 1.0, weights.size or 224, len(names))
    load_backbone(model, weights.backbone or "imagenet", weights.alpha or 1.0)
    return Source(model, names, RANDOM, sources.hash_weights(model), MOBILENETS)


def _trained(file: Path, name: str, weights: Weights, labels: Path | None) -> Source:
    """What `train` wrote: FILE.weights.h5, and FILE.json, which tells what it is of."""
    if not file.is_file():
        raise ExportError(f"--weights is bundled, random or a file; {file} is none")
    notes = _notes(file)
    alpha, size = notes["training"]["alpha"], notes["training"]["size"]
    if (weights.alpha or alpha, weights.size or size) != (alpha, size):
        raise ExportError(f"{name} has alpha {alpha} and size {size}, leave --alpha and --size out")
    model = _build(alpha, size, len(notes["classes"]))
    try:
        model.load_weights(file)
    except Exception as error:  # keras and h5py raise what they meet in the file
        raise ExportError(f"{file} does not fit a detector as {name} tells of it") from error
    names = sources.read_labels(labels) if labels else tuple(notes["classes"])
    label_file.check(names, len(notes["classes"]))
    return Source(model, names, name, sources.sha256(file), MOBILENETS)


def _notes(file: Path) -> dict[str, Any]:
    notes = file.with_name(file.name.removesuffix(".weights.h5") + ".json")
    try:
        found: dict[str, Any] = json.loads(notes.read_text(encoding="utf-8"))
        _ = found["classes"], found["training"]["alpha"], found["training"]["size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{notes} is not what train-detector writes beside its weights: {error}"
        ) from error
    return found


def _build(alpha: float, size: int, classes: int) -> keras.Model:
    try:
        return network.build(alpha, size, classes)
    except ValueError as error:
        raise ExportError(f"no detector of alpha {alpha}, size {size}: {error}") from error
