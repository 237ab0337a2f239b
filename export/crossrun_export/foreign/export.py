"""The export of a model of another runtime: finds out what it is, and exports that."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crossrun_export.errors import ExportError
from crossrun_export.foreign import class_labels, detector_export, entrance, layouts, pictures
from crossrun_export.foreign.class_labels import ClassLabels
from crossrun_export.foreign.detector_export import Subject
from crossrun_export.foreign.layouts import Layout, Said
from crossrun_export.foreign.settings import Options
from crossrun_export.foreign.source import ForeignSource
from crossrun_export.pictures import FEW
from crossrun_export.release import Tell
from crossrun_export.runtime import Outputs

CALLED = {"tensorflow": "TensorFlow", "litert": "LiteRT", "onnxruntime": "onnxruntime"}


def export(
    source: ForeignSource, options: Options, tell: Tell = lambda _: None, say: Tell = lambda _: None
) -> list[tuple[Path, str]]:
    """Export a detector or a classifier into a model repository.

    Args:
        source: the model.
        options: what to make of it.
        tell: is told what is under way.
        say: is told what a person has to know of it.

    Returns:
        The folder of each version, and what a person is told of it.

    Raises:
        ExportError: something of the model is not known, it cannot be converted or written, does
            not answer as the source does, or a precision costs more than its limit.
    """
    source = _sized(source, options)
    preprocessing = entrance.preprocessing(source, options.pixels)
    say(f"pixels {preprocessing.scaling.name}: {preprocessing.because}")
    labels = _labels(source, options)
    tell("reading pictures")
    shown = pictures.for_export(source.picture.size, options, labels.names)
    tell(f"asking {CALLED[source.runtime]}")
    answers = tuple(entrance.each_answer(source, shown.measured.pixels, preprocessing.scaling))
    layout = _layout(source, labels, options.said, answers[:FEW])
    if layout is None:
        raise ExportError(f"{source.name} is no detector")
    say(f"detections {layout.layout}: {_told(layout)}")
    subject = Subject(source, options, labels.names, layout, preprocessing, shown, answers)
    return [
        (version, detector_export.told(made, CALLED[source.runtime]))
        for version, made in detector_export.export(subject, tell, say)
    ]


def _sized(source: ForeignSource, options: Options) -> ForeignSource:
    """The source at the size that is asked for.

    Raises:
        ExportError: it has another.
    """
    if options.size is None:
        return source
    own = source.picture.size
    if any(side not in (-1, wanted) for side, wanted in zip(own, options.size, strict=True)):
        raise ExportError(f"--size: {source.name} takes pictures of {own[0]}x{own[1]}")
    return replace(source, picture=replace(source.picture, size=options.size))


def _labels(source: ForeignSource, options: Options) -> ClassLabels:
    if options.labels is not None:
        return class_labels.read(options.labels)
    if not source.labels:
        raise ExportError(f"{source.name} has no labels; name a file of them by --labels")
    return class_labels.parse(source.labels)


def _layout(
    source: ForeignSource, labels: ClassLabels, said: Said, answers: Sequence[Outputs]
) -> Layout | None:
    """How the outputs are read, by what options, labels, shapes and answers say.

    A file of labels has numbers, or gaps between them. Its first is as it says, or 0 or 1 as the
    answers tell.
    """
    seen = _joined(answers)

    def find(said: Said) -> Layout | None:
        return layouts.find(source.outputs, source.picture.size, len(labels.names), said, seen)

    if labels.first is None and not labels.has_gaps:
        return find(said)
    if said.first_class is not None or not labels.is_listed:
        first = labels.first if said.first_class is None else said.first_class
        assert first is not None
        return find(replace(said, numbers=labels.numbers(first)))
    fitting, wrong = [], []
    for first in (1, 0):
        try:
            fitting.append(find(replace(said, numbers=labels.numbers(first))))
        except ExportError as error:
            wrong.append(error)
    if not fitting:
        raise wrong[0]
    if len(fitting) > 1 and fitting[0] is not None and labels.first is None:
        raise ExportError(
            "the labels have gaps, and nothing tells whether the first is of class 0 or 1; say it "
            "by --first-class"
        )
    return fitting[0]


def _joined(answers: Sequence[Outputs]) -> Outputs:
    """All answers as those of a batch, or the first, if outputs have no dimension for one."""
    if any(values.shape[:1] != (1,) for values in answers[0].values()):
        return answers[0]
    return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}


def _told(layout: Layout) -> str:
    """How outputs are read."""
    numbers = layout.numbers
    gaps = " with gaps" if numbers[-1] - numbers[0] >= len(numbers) else ""
    parts = ", ".join(f"{part} {name!r}" for part, name in layout.outputs.items())
    return (
        f"{parts}; boxes {layout.box_order} {layout.box_unit}, "
        f"classes {numbers[0]} to {numbers[-1]}{gaps}"
    )
