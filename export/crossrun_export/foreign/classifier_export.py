"""The export of another runtime's classifier: brings it to the pipeline of all classifiers."""

from pathlib import Path

from crossrun_export import label_file, options, pipeline, sources
from crossrun_export.errors import ExportError
from crossrun_export.foreign import classifier
from crossrun_export.foreign.classifier import ForeignClassifier
from crossrun_export.foreign.settings import Options
from crossrun_export.foreign.source import ForeignSource
from crossrun_export.options import Tolerance
from crossrun_export.release import Tell
from crossrun_export.scaling import Preprocessing
from crossrun_export.told import told


def export(
    source: ForeignSource, preprocessing: Preprocessing, asked: Options, tell: Tell, say: Tell
) -> list[tuple[Path, str]]:
    """Export a classifier into a model repository, as `pipeline.export` does.

    Returns:
        The folder of each version, and what a person is told of it.

    Raises:
        ExportError: its input is of any size, no output has its scores, or they do not fit the
            labels; and as `pipeline.export` raises it.
    """
    if min(source.picture.size) < 1:
        raise ExportError(
            f"{source.name} takes pictures of any size; --size HEIGHTxWIDTH says which to serve"
        )
    output = classifier.scores_of(source.outputs, asked.scores_output)
    labels = sources.read_labels(asked.labels) if asked.labels else source.labels
    found = ForeignClassifier(source, output, labels, preprocessing, say)
    if labels:
        label_file.check(labels, max(found.classes, 2))  # one score is of the second of two
    exported = pipeline.export(found, _options(asked), tell, say)
    say(str(exported[0].seen or "neither labels nor probabilities to judge the pixels by"))
    return [(one.version, told(one)) for one in exported]


def _options(asked: Options) -> options.Options:
    """What the pipeline of classifiers is asked for.

    Raises:
        ExportError: something that is not for classifiers.
    """
    if asked.resize == "letterbox":
        raise ExportError("--resize letterbox is for detectors; expected stretch or crop")
    return options.Options(
        output=asked.output,
        name=asked.name,
        input_dtype=asked.input_dtype,
        precisions=asked.precisions,
        resize=asked.resize,
        images=asked.images,
        tolerance=Tolerance(asked.max_diff, asked.min_agreement),
        calibration=asked.calibration,
        limits=asked.limits,
        skip_unknown=asked.skip_unknown,
        scores=asked.scores,
    )
