"""The export of another runtime's detector, in order: append, verify, reduce and price, prove.

Precisions are made of the source's graph with its entrance; what reads its outputs comes behind
each of them as it is.
"""

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from crossrun_export import proof, provenance, publish, release, runtime
from crossrun_export.detector import check, detector_proof, measure, pipeline, suppress
from crossrun_export.detector.check import Parity, Price
from crossrun_export.detector.measure import ALL, Detections
from crossrun_export.detector.settings import Thresholds, Tolerance
from crossrun_export.foreign import entrance, layouts, parity
from crossrun_export.foreign.entrance import Pixels
from crossrun_export.foreign.layouts import Layout
from crossrun_export.foreign.parity import Agreement
from crossrun_export.foreign.pictures import Shown
from crossrun_export.foreign.settings import Options
from crossrun_export.foreign.source import ForeignSource
from crossrun_export.options import Precision
from crossrun_export.proof import Origin
from crossrun_export.release import Calibration, Tell, Version
from crossrun_export.runtime import Inputs, Outputs
from crossrun_export.scaling import Preprocessing


@dataclass(frozen=True)
class Made:
    """A detector in one precision."""

    precision: Precision
    model: onnx.ModelProto
    cost: Parity | Price | Agreement
    calibration: dict[str, Any] | None = None


@dataclass(frozen=True)
class Subject:
    """What is exported, and the pictures for it."""

    source: ForeignSource
    options: Options
    labels: tuple[str, ...]
    layout: Layout
    preprocessing: Preprocessing
    pictures: Shown
    answers: tuple[Outputs, ...]  # the source's to each measured picture

    def given(self, pixels: Pixels) -> Inputs:
        """What the served graph takes for pictures."""
        return entrance.given(self.preprocessing.scaling, self.options.input_dtype)(pixels)

    def found(self, pixels: Pixels, thresholds: Thresholds) -> Detections:
        """What the source finds in pictures, asked one by one."""
        answers = entrance.each_answer(self.source, pixels, self.preprocessing.scaling)
        return self.read(tuple(answers), thresholds)

    def read(self, answers: tuple[Outputs, ...], thresholds: Thresholds) -> Detections:
        """What answers of the source say was found."""
        every = [layouts.read(one, self.layout, thresholds) for one in answers]
        return Detections(*(np.concatenate(part) for part in zip(*every, strict=True)))


def export(subject: Subject, tell: Tell, say: Tell) -> list[tuple[Path, Made]]:
    """Export a detector into a model repository, each precision as a model of its own.

    Returns:
        The folder of each version, and what was put there.

    Raises:
        ExportError: it cannot be written, does not find what the source finds, or a precision
            costs more than its limit.
    """
    options = subject.options
    with publish.staging(options.output, options.name) as folder:
        tell("verifying the detector")
        made = _made(subject, tell, say)
        versions = [_version(one, subject) for one in made]
        made_from = provenance.of_foreign(
            subject.source, subject.preprocessing, subject.labels, asdict(subject.layout)
        )
        written = release.write(versions, made_from, options, folder)
    return list(zip(written, made, strict=True))


def _made(subject: Subject, tell: Tell, say: Tell) -> list[Made]:
    """The detector in every precision asked for."""
    options = subject.options
    network = entrance.served(
        subject.source,
        subject.preprocessing.scaling,
        options.input_dtype,
        subject.pictures.measured.pixels,
        say,
    )
    original = _reading(network, subject)
    cost = _verified(original, network, subject)
    made = [Made("fp32", original, cost)] if "fp32" in options.precisions else []
    return made + [_reduced(one, network, subject, tell) for one in options.reduced]


def _reading(network: onnx.ModelProto, subject: Subject) -> onnx.ModelProto:
    """A copy of the network that reads its outputs itself."""
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    return layouts.append(copy, subject.layout, subject.options.thresholds)


def _verified(model: onnx.ModelProto, network: onnx.ModelProto, subject: Subject) -> Parity:
    """Hold a graph against the source, with the exported thresholds and those of a whole curve."""
    pictures, allowed = subject.pictures.measured, _allowed(subject.options)
    inputs, own = subject.given(pictures.pixels), subject.options.thresholds
    every = _whole_curve(own)
    for thresholds in (own, every):
        expected = subject.read(subject.answers, thresholds)
        got = check.found(model, inputs, thresholds)
        cost = check.verify(expected, got, thresholds, allowed, pictures.names)
    if not cost.detections:
        parity.verify_raw(subject.answers, runtime.outputs(network, inputs), allowed)
    if resized := subject.pictures.resized:
        expected = subject.found(resized.pixels, every)
        got = check.found(model, subject.given(resized.pixels), every)
        check.verify(expected, got, every, allowed, resized.names)
    return cost


def _reduced(precision: Precision, network: onnx.ModelProto, subject: Subject, tell: Tell) -> Made:
    """One reduced precision, its price measured and held against the limit."""
    calibration = _calibration(subject) if precision == "int8" else None
    small, how = release.reduce(network, calibration, tell)
    model = _reading(small, subject)
    tell(f"{precision}: measuring its price")
    return Made(precision, model, _price(precision, model, subject), how)


def _price(precision: Precision, model: onnx.ModelProto, subject: Subject) -> Price | Agreement:
    """In mean average precision where pictures have labels, else in agreement."""
    options, pictures = subject.options, subject.pictures.measured
    inputs, own = subject.given(pictures.pixels), options.thresholds
    if pictures.truth is None:
        expected = subject.read(subject.answers, own)
        agreed = parity.agreement(expected, check.found(model, inputs, own), own)
        parity.check_agreement(agreed, options.limits.min_agreement, precision)
        return agreed
    every = _whole_curve(own)
    original = measure.precision(pictures.truth, subject.read(subject.answers, every))
    reduced = measure.precision(pictures.truth, check.found(model, inputs, every))
    cost = check.price(original, reduced, len(pictures.names))
    check.check(cost, options.max_map_drop, precision)
    return cost


def _calibration(subject: Subject) -> Calibration:
    """What int8 is calibrated on; the method is chosen that agrees with the original best."""
    used, every = subject.pictures.calibration, _whole_curve(subject.options.thresholds)
    assert used is not None

    def merit(original: Outputs, reduced: Outputs) -> tuple[float, float]:
        expected, got = (subject.read((it,), every) for it in (original, reduced))
        difference, same = detector_proof.compare(expected, got, every.score, 0.0)
        return same, -difference

    notes = {"pictures": len(used.names), "sha256": list(used.hashes)}
    return Calibration(subject.given(used.pixels), merit, "agreement", notes, float_ends=True)


def _version(made: Made, subject: Subject) -> Version:
    options, pictures = subject.options, subject.pictures.measured
    own = options.thresholds
    about: dict[str, Any] = {
        "parity" if isinstance(made.cost, Parity) else "price": asdict(made.cost),
        "detection": {suppress.SCORE: own.score, suppress.IOU: own.iou, suppress.MOST: own.most},
    }
    if made.calibration:
        about["calibration"] = made.calibration
    prove = detector_proof.prover(
        lambda pixels: (subject.given(pixels), subject.found(pixels, own)),
        made.model,
        made.precision,
        own,
        _allowed(options),
    )
    pixels = pictures.pixels[proof.spread(len(pictures.names), proof.MOST)]
    origin: Origin = "photographs" if pictures.hashes else "drawn"
    return Version(made.precision, made.model, about, [suppress.CLASSES], pixels, prove, origin)


def _whole_curve(own: Thresholds) -> Thresholds:
    return dataclasses.replace(ALL, most=min(ALL.most, own.most))


def _allowed(options: Options) -> float:
    return Tolerance.max_diff if options.max_diff is None else options.max_diff


def told(made: Made, runtime_name: str) -> str:
    """What a person is told of it."""
    cost = made.cost
    if isinstance(cost, Parity) and not cost.detections:
        return f"finds nothing in {cost.images} pictures, as {runtime_name}; its outputs are equal"
    if isinstance(cost, Parity):
        return (
            f"finds the same {cost.detections} objects as {runtime_name} in {cost.images} pictures "
            f"(largest difference {cost.max_abs_diff:.1e})"
        )
    how = f"; calibrated by {made.calibration['method']}" if made.calibration else ""
    if isinstance(cost, Price):
        return f"{pipeline.priced(cost)}{how}"
    return (
        f"agrees with {runtime_name} on {cost.agreement:.2%} of {cost.detections} detections in "
        f"{cost.images} pictures without labels (largest difference {cost.max_abs_diff:.2g}){how}"
    )
