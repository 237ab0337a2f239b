"""The export of a detector, in order: convert, verify, reduce and price, prove, publish.

Precisions are made of the network alone; suppression comes behind each of them as it is.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from crossrun_export import convert, publish, release, runtime
from crossrun_export.detector import check, detector_proof, measure, suppress
from crossrun_export.detector.check import Parity, Price
from crossrun_export.detector.data import Example, Pixels
from crossrun_export.detector.measure import ALL, AveragePrecision, Detections
from crossrun_export.detector.network import BOXES, SCORES
from crossrun_export.detector.pictures import Pictures, for_export
from crossrun_export.detector.settings import Options, Thresholds
from crossrun_export.inference import inputs_of
from crossrun_export.options import Precision
from crossrun_export.proof import Origin
from crossrun_export.release import Calibration, Tell, Version
from crossrun_export.runtime import Inputs, Outputs
from crossrun_export.sources import Source


@dataclass(frozen=True)
class Made:
    """A detector in one precision."""

    precision: Precision
    model: onnx.ModelProto
    cost: Parity | Price
    calibration: dict[str, Any] | None = None


@dataclass(frozen=True)
class Subject:
    """What is exported, the pictures for it, and what Keras says of those."""

    source: Source
    options: Options
    pictures: Pictures
    inputs: Inputs  # the measured pictures as the graph takes them
    raw: tuple[measure.Floats, measure.Floats]  # boxes and scores


def export(
    source: Source, options: Options, tell: Tell = lambda _: None
) -> list[tuple[Path, Made]]:
    """Export a detector into a model repository, each precision as a model of its own.

    Args:
        source: a network of two outputs, as `load` returns it.
        options: what to make of it.
        tell: is told what is under way.

    Returns:
        The folder of each version, and what was put there.

    Raises:
        ExportError: it cannot be converted or written, does not find the same as the original, or
            a precision costs more than its limit.
    """
    tell("reading pictures")
    subject = _with_pictures(source, options)
    with publish.staging(options.output, options.name) as folder:
        tell("converting and verifying the detector")
        made = _made(subject, tell)
        versions = [_version(one, subject) for one in made]
        written = release.write(versions, source.made_from(), options, folder)
    return list(zip(written, made, strict=True))


def _with_pictures(source: Source, options: Options) -> Subject:
    pictures = for_export(source, options)
    pixels = np.stack([example.pixels for example in pictures.measured])
    inputs = inputs_of(source, pixels, options.input_dtype)
    return Subject(source, options, pictures, inputs, measure.raw(source.model, pixels))


def _made(subject: Subject, tell: Tell) -> list[Made]:
    """The detector in every precision asked for."""
    options = subject.options
    network = to_onnx(subject.source, options)
    original = suppress.append(network, options.thresholds)
    parity = _verified(original, subject)
    if not parity.detections:
        scores = runtime.outputs(network, subject.inputs)[SCORES]
        check.verify_scores(subject.raw[1], scores, options.tolerance.max_diff)
    made = [Made("fp32", original, parity)] if "fp32" in options.precisions else []
    return made + [_reduced(one, network, subject, tell) for one in options.reduced]


def to_onnx(source: Source, options: Options) -> onnx.ModelProto:
    """The network without suppression: `image` to `boxes` and `scores`."""

    def answer(image: Any) -> dict[str, Any]:
        return dict(zip((BOXES, SCORES), source.model(image, training=False), strict=True))

    return convert.convert(source, options.input_dtype, answer)


def _verified(model: onnx.ModelProto, subject: Subject) -> Parity:
    """Hold a graph against Keras, with the exported thresholds and with those of a whole curve."""
    allowed, own = subject.options.tolerance.max_diff, subject.options.thresholds
    every = _whole_curve(own)
    names = [f"picture {place}" for place in range(len(subject.pictures.measured))]
    expected = measure.suppressed(*subject.raw, own)
    check.verify(expected, check.found(model, subject.inputs, None), own, allowed, names)
    expected = measure.suppressed(*subject.raw, every)
    return check.verify(expected, check.found(model, subject.inputs, every), every, allowed, names)


def _reduced(precision: Precision, network: onnx.ModelProto, subject: Subject, tell: Tell) -> Made:
    """One reduced precision, its price measured and held against the limit."""
    options, pictures = subject.options, subject.pictures
    calibration = _calibration(subject) if precision == "int8" else None
    small, how = release.reduce(network, calibration, tell)
    model = suppress.append(small, options.thresholds)
    tell(f"{precision}: measuring its price")
    every = _whole_curve(options.thresholds)
    original = _precision(measure.suppressed(*subject.raw, every), pictures.measured)
    own = _precision(check.found(model, subject.inputs, every), pictures.measured)
    cost = check.price(original, own, len(pictures.measured))
    check.check(cost, options.tolerance.max_map_drop, precision)
    return Made(precision, model, cost, how)


def _calibration(subject: Subject) -> Calibration:
    examples = subject.pictures.calibration
    pixels = np.stack([example.pixels for example in examples])

    def merit(_: Outputs, found: Outputs) -> tuple[float, float]:
        detections = measure.suppressed(found[BOXES], found[SCORES], ALL)
        reached = _precision(detections, examples)
        return reached.mean, reached.at_half

    inputs = inputs_of(subject.source, pixels, subject.options.input_dtype)
    return Calibration(inputs, merit, "map", {"pictures": len(examples)}, float_ends=True)


def _precision(detections: Detections, examples: Sequence[Example]) -> AveragePrecision:
    return measure.precision((example.objects for example in examples), detections)


def _whole_curve(own: Thresholds) -> Thresholds:
    return dataclasses.replace(ALL, most=min(ALL.most, own.most))


def _version(made: Made, subject: Subject) -> Version:
    source, options = subject.source, subject.options
    about: dict[str, Any] = {
        "price" if isinstance(made.cost, Price) else "parity": asdict(made.cost),
        "detection": {
            suppress.SCORE: options.thresholds.score,
            suppress.IOU: options.thresholds.iou,
            suppress.MOST: options.thresholds.most,
        },
    }
    if made.calibration:
        about["calibration"] = made.calibration
    pixels = detector_proof.pixels_of(subject.pictures.measured)

    def ask(pixels: Pixels) -> tuple[Inputs, Detections]:
        found = measure.suppressed(*measure.raw(source.model, pixels), options.thresholds)
        return inputs_of(source, pixels, options.input_dtype), found

    prove = detector_proof.prover(
        ask, made.model, made.precision, options.thresholds, options.tolerance.max_diff
    )
    origin: Origin = "photographs" if options.data else "drawn"
    beside = made.precision in options.reduced
    labelled = [suppress.CLASSES]
    return Version(made.precision, made.model, about, labelled, pixels, prove, origin, beside)


def told(made: Made) -> str:
    """What a person is told of it."""
    cost = made.cost
    if isinstance(cost, Parity) and not cost.detections:
        return f"finds nothing in {cost.images} pictures, as Keras does; its scores are equal"
    if isinstance(cost, Parity):
        return (
            f"finds the same {cost.detections} objects as Keras in {cost.images} pictures "
            f"(largest difference {cost.max_abs_diff:.1e})"
        )
    how = f"; calibrated by {made.calibration['method']}" if made.calibration else ""
    return f"{priced(cost)}{how}"


def priced(cost: Price) -> str:
    """What a person is told of a price in mean average precision."""
    return (
        f"mAP@[.5:.95] {cost.map:.4f} ({100 * cost.map_change:+.2f} points), "
        f"mAP@0.5 {cost.map_at_half:.4f} ({100 * cost.map_at_half_change:+.2f} points) "
        f"on {cost.images} pictures"
    )
