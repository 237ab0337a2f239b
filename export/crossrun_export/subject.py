"""What the export of a classifier is about: the original, what is asked for, and the pictures.

Refuses what cannot be made of such an original, or measured on such pictures.
"""

from dataclasses import dataclass

from crossrun_export import pictures
from crossrun_export.errors import ExportError
from crossrun_export.options import Options
from crossrun_export.original import Classifier
from crossrun_export.pictures import Pictures
from crossrun_export.sources import Source


@dataclass(frozen=True)
class Subject:
    """What is exported, and the pictures for it."""

    source: Classifier
    options: Options
    calibration: Pictures | None
    measured: Pictures


def of(source: Classifier, options: Options) -> Subject:
    """Read the pictures for an export.

    Raises:
        ExportError: something is asked for that such an original or such pictures rule out.
    """
    _check_askable(source, options)
    subject = _with_pictures(source, options)
    _check_measurable(subject)
    return subject


def notes(subject: Subject) -> list[str]:
    """What a person has to know of the pictures."""
    measured = subject.measured
    of_both = subject.calibration.notes if subject.calibration else ()
    found = list(dict.fromkeys((*of_both, *measured.notes)))
    given = subject.options.images or subject.options.calibration
    if given and measured.labels is None:
        found.append(f"no labels: top-1 is not measured: {measured.unlabelled}")
    return found


def _check_askable(source: Classifier, options: Options) -> None:
    """Refuse what cannot be made of such an original."""
    if options.localize and not isinstance(source, Source):
        raise ExportError("--localize is for Keras models")


def _with_pictures(source: Classifier, options: Options) -> Subject:
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
