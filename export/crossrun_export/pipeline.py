"""The whole export, in order: convert, verify, reduce and price, prove, publish.

What is not equal to the original, or costs too much, is not written, nor is what goes with it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from crossrun_export import (
    alternatives,
    classifier_proof,
    convert,
    dtypes,
    heads,
    inference,
    localize,
    pictures,
    provenance,
    publish,
    release,
    runtime,
    tolerance,
    verify,
)
from crossrun_export import price as prices
from crossrun_export.alternatives import Seen
from crossrun_export.errors import ExportError
from crossrun_export.heads import Head
from crossrun_export.localize import Localization, Localizer
from crossrun_export.options import Localize, Options, Precision
from crossrun_export.pictures import Pictures
from crossrun_export.price import Price
from crossrun_export.proof import Origin
from crossrun_export.release import Calibration, Tell, Version
from crossrun_export.runtime import Scores
from crossrun_export.sources import Source
from crossrun_export.tolerance import Allowed
from crossrun_export.verify import Parity

OF_CLASSES = (convert.OUTPUT, "logits", "detection_classes")  # outputs that labels.txt is of


@dataclass(frozen=True)
class Original:
    """What reduced precisions are made of and held against."""

    model: onnx.ModelProto  # in fp32
    head: Head
    allowed: Allowed  # of the model in fp32
    expected: Sequence[Scores]  # Keras's, on each view of the pictures


@dataclass(frozen=True)
class Made:
    """A model in one precision."""

    precision: Precision
    model: onnx.ModelProto
    cost: Parity  # a Price where the precision is a reduced one
    head: Head
    allowed: Allowed  # of the model in fp32
    calibration: dict[str, Any] | None = None  # of int8: how, and on which pictures
    localization: Localization | None = None  # of a localizer whose classes can be drawn
    parts: Localizer | None = None  # of a localizer


@dataclass(frozen=True)
class Exported:
    """What was written."""

    version: Path
    made: Made
    seen: Seen | None  # with pixels scaled in other ways


@dataclass(frozen=True)
class Subject:
    """What is exported, and the pictures for it."""

    source: Source
    options: Options
    calibration: Pictures | None
    measured: Pictures


def export(
    source: Source, options: Options, tell: Tell = lambda _: None, say: Tell = lambda _: None
) -> list[Exported]:
    """Export a classifier into a model repository, each precision as the next version of a model.

    fp32 is the model `options.name`, another precision is NAME-PRECISION: models of their own, so
    that they are served side by side and a client names the one it wants.

    Args:
        source: the model.
        options: what to make of it.
        tell: is told what is under way.
        say: is told what a person has to know of it.

    Raises:
        ExportError: it cannot be converted or written, is not equal to the original, takes other
            pixels than are assumed, a precision costs more than its limit, or a limit that was
            asked for cannot be measured.
    """
    tell("reading pictures")
    subject = _with_pictures(source, options)
    _check_measurable(subject)
    for note in _notes(subject):
        say(note)
    with publish.staging(options.output, options.name) as folder:
        tell(f"converting and verifying {source.model.name}")
        made = _made(subject, tell)
        tell("asking Keras about the pictures scaled in other ways")
        seen = alternatives.compare(source, subject.measured, made[0].head.kind)
        versions = [_version(one, subject) for one in made]
        written = release.write(versions, provenance.of_keras(source), options, folder)
    return [Exported(version, one, seen) for version, one in zip(written, made, strict=True)]


def _with_pictures(source: Source, options: Options) -> Subject:
    if "int8" not in options.precisions:
        count = pictures.FEW if options.precisions == ("fp32",) else pictures.MANY
        measured = pictures.for_measuring(
            source, options.images, count, skip_unknown=options.skip_unknown
        )
        return Subject(source, options, None, measured)
    both = pictures.for_both(
        source, options.calibration, options.images, skip_unknown=options.skip_unknown
    )
    return Subject(source, options, *both)


def _check_measurable(subject: Subject) -> None:
    """Refuse a limit that nothing could be held against."""
    measured, limits = subject.measured, subject.options.limits
    if limits.needs_labels and measured.labels is None:
        raise ExportError(
            f"--max-top1-drop {limits.max_top1_drop:g} cannot be held: {measured.unlabelled}; "
            "expected --images with a folder for each class, named by label or WordNet id"
        )


def _notes(subject: Subject) -> list[str]:
    """What a person has to know of the pictures."""
    measured = subject.measured
    of_both = subject.calibration.notes if subject.calibration else ()
    notes = list(dict.fromkeys((*of_both, *measured.notes)))
    given = subject.options.images or subject.options.calibration
    if given and measured.labels is None:
        notes.append(f"no labels: top-1 is not measured: {measured.unlabelled}")
    return notes


def _made(subject: Subject, tell: Tell) -> list[Made]:
    """The model in every precision asked for."""
    source, measured, options = subject.source, subject.measured, subject.options
    if options.localize:
        return [_localizer(subject, options.localize, tell)]
    original = convert.to_onnx(source, options.input_dtype)
    expected = inference.keras_scores(source, measured.stretched)
    head = _head(subject, original, expected)
    heads.rename(original, convert.OUTPUT, head.output)
    got = inference.onnx_scores(source, original, measured.stretched)
    allowed = _allowed(subject, head, expected)
    parity = verify.verify(expected, got, measured.names, allowed)
    made = [Made("fp32", original, parity, head, allowed)] if "fp32" in options.precisions else []
    if options.reduced:
        tell("asking Keras about the pictures cropped and mirrored")
        _, *others = measured.views()
        all_expected = [expected, *(inference.keras_scores(source, view) for view in others)]
        whole = Original(original, head, allowed, all_expected)
        made += [_reduced(one, whole, subject, tell) for one in options.reduced]
    return made


def _head(subject: Subject, model: onnx.ModelProto, expected: Scores) -> Head:
    """What the model's scores are."""
    said = heads.Said(subject.options.scores, subject.source.loss)
    return heads.find(model, convert.OUTPUT, expected, subject.measured.names, said)


def _allowed(subject: Subject, head: Head, expected: Scores) -> Allowed:
    computes = dtypes.coarsest(subject.source.model)
    return tolerance.suiting(subject.options.tolerance, head, expected, computes)


def _localizer(subject: Subject, asked: Localize, tell: Tell) -> Made:
    """The model that also says where, verified; its boxes measured where they can be."""
    source, measured, options = subject.source, subject.measured, subject.options
    if options.precisions != ("fp32",):
        raise ExportError("--localize is for fp32 only; leave --precision out")
    if dtypes.of(source.model) != "float32":
        raise ExportError("--localize: the model computes in float16; add --float32")
    parts = localize.localizer(source, asked)
    model = localize.to_onnx(source, parts, options.input_dtype)
    inputs = inference.inputs_of(source, measured.stretched, options.input_dtype)
    found = runtime.outputs(model, inputs)
    expected = inference.keras_scores(source, measured.stretched)
    head = _head(subject, model, expected)
    if head.output != convert.OUTPUT or head.kind in heads.BINARY:
        raise ExportError(f"--localize is for heads of softmax or sigmoid; {head.because}")
    allowed = _allowed(subject, head, expected)
    got = found[convert.OUTPUT]
    parity = verify.verify(expected, got, measured.names, allowed)
    localize.check(parts, inference.inputs_of(source, measured.stretched, "float32"), found)
    tell("measuring boxes on drawn pictures")
    boxes = localize.measure(source, model, options.input_dtype)
    return Made("fp32", model, parity, head, allowed, localization=boxes, parts=parts)


def _reduced(precision: Precision, original: Original, subject: Subject, tell: Tell) -> Made:
    """One reduced precision, its price measured on every view and held against the limits."""
    source, measured, head = subject.source, subject.measured, original.head
    calibration = _calibration(subject, head) if precision == "int8" else None
    model, how = release.reduce(original.model, calibration, tell)
    tell(f"{precision}: measuring its price")
    got = [inference.onnx_scores(source, model, view) for view in measured.views()]
    cost = prices.price(original.expected, got, measured, head.kind)
    prices.check(cost, subject.options.limits, precision)
    return Made(precision, model, cost, head, original.allowed, how)


def _calibration(subject: Subject, head: Head) -> Calibration:
    used = subject.calibration
    assert used is not None
    if dtypes.of(subject.source.model) != "float32":
        raise ExportError("int8: the model computes in float16; --float32 lets it be quantized")
    inputs = inference.inputs_of(subject.source, used.stretched, subject.options.input_dtype)
    notes = {"pictures": len(used.names), "sha256": list(used.hashes)}
    return Calibration(inputs, verify.merit(head.kind), "agreement", notes)


def _version(made: Made, subject: Subject) -> Version:
    source, measured = subject.source, subject.measured
    about: dict[str, Any] = {
        "compute_dtype": dtypes.of(source.model),
        "scores": {
            "head": made.head.kind,
            "because": made.head.because,
            "output": made.head.output,
        },
        "price" if isinstance(made.cost, Price) else "parity": asdict(made.cost),
    }
    if made.calibration:
        about["calibration"] = made.calibration
    if made.localization:
        about["localization"] = asdict(made.localization)
    prove = classifier_proof.prover(source, made.model, made.precision, made.allowed, made.parts)
    origin: Origin = "photographs" if measured.hashes else "drawn"
    return Version(made.precision, made.model, about, OF_CLASSES, measured.stretched, prove, origin)
