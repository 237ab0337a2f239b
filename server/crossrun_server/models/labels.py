"""Names of classes: reads the label files of a model, and checks their number.

A list with another length than there are classes belongs to another model: all of its names may be
shifted. Knows no requests.
"""

import codecs
import hashlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from crossrun_server.errors import LoadError
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models import layout
from crossrun_server.scheduling.batching import Tensors
from crossrun_server.tensors.tensor_spec import TensorSpec

log = logging.getLogger(__name__)

Labels = Mapping[str, tuple[str, ...]]  # by output
EXPORTED = "crossrun.labels_sha256"  # key of the file's metadata, as JSON

OTHER_TEXT = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # UTF-32's marks begin or end like these


def read(folder: Path, served: CompletedConfig) -> dict[str, tuple[str, ...]]:
    """Read the labels of each output that has a file of them.

    Raises:
        LoadError: a file is missing or not UTF-8, or does not have one line for each class.
    """
    files = {o.name: o.label_filename for o in served.proto.output if o.label_filename}
    found = {output: _lines(folder, name) for output, name in files.items()}
    for spec in served.outputs:
        if spec.name in found:
            counts = _counts(spec, served, spec.shape)
            _check(spec.name, files[spec.name], found[spec.name], counts)
    return found


def warn_of_others(labels: Labels, name: str, metadata: Mapping[str, str]) -> None:
    """Log if labels are not those that were exported with the model, if the file says which.

    They may be translated; or they may be another list that has the same length by chance.
    """
    written = metadata.get(EXPORTED, "").strip('"')
    for output, names in labels.items():
        text = "\n".join(names)
        if written and written not in {_sha256(text), _sha256(f"{text}\n")}:
            log.warning(
                "%s: the labels of %s are not those that the model was exported with (%s): its "
                "classes may be called by names of others",
                name, output, EXPORTED,
            )  # fmt: skip


def check_answers(labels: Labels, served: CompletedConfig, answers: Tensors) -> None:
    """Check the number of labels against the first answers, if the shapes leave it open.

    If a size of an input is free, the size of an output may follow it. Then nothing is checked.

    Raises:
        LoadError: there are more or fewer classes than labels.
    """
    batched = served.max_batch_size > 0
    # The first of several sizes counts rows, whether they are a batch or not.
    if any(-1 in (spec.shape[1:] or spec.shape[batched:]) for spec in served.required):
        return
    files = {o.name: o.label_filename for o in served.proto.output}
    for spec in served.outputs:
        unknown = spec.name in labels and _counts(spec, served, spec.shape) is None
        if unknown and spec.name in answers:
            counts = _counts(spec, served, answers[spec.name].shape)
            _check(spec.name, files[spec.name], labels[spec.name], counts)


def fitting(sizes: Sequence[int]) -> frozenset[int]:
    """Return how many labels may belong to scores of these sizes, which exclude the batch.

    There is one label for each score, or one for each place in the last of several dimensions. A
    single score may be that of the second of two classes.
    """
    scores = math.prod(sizes)
    rows = {sizes[-1]} if sizes and sizes[-1] > 1 else set()
    return frozenset({scores} | rows | ({2} if scores == 1 else set()))


def _counts(
    spec: TensorSpec, served: CompletedConfig, shape: Sequence[int]
) -> frozenset[int] | None:
    """Return how many labels may belong to an output of a shape; None if that does not tell."""
    found = served.detection_outputs
    if found is not None and spec.name in found.names:
        return found.label_counts(shape) if spec.name == found.labelled else None
    sizes = shape[served.max_batch_size > 0 :]
    if not spec.datatype.startswith(("FP", "BF")) and -1 not in sizes and math.prod(sizes) == 1:
        return None  # a single whole number: the class itself
    if -1 not in sizes:
        return fitting(sizes)
    return frozenset({sizes[-1]}) if sizes[-1] > 1 else None


def _check(output: str, file: str, labels: Sequence[str], counts: frozenset[int] | None) -> None:
    if not labels:
        raise LoadError(f"{file} holds no label; leave label_filename out for none")
    if counts is None or len(labels) in counts:
        return
    expected = " or ".join(map(str, sorted(counts)))
    raise LoadError(
        f"{file} has {len(labels)} labels, but output {output!r} has {expected} classes"
        + "".join(_hints(labels, max(counts)))
    )


def _hints(labels: Sequence[str], classes: int) -> Iterator[str]:
    """Say what is often wrong with a list that has one label too many."""
    if len(labels) == classes + 1 and labels[0].strip().lower() in ("background", "dummy"):
        yield f"; its first line, {labels[0]!r}, belongs to a model with one class more: remove it"
    elif len(labels) > classes and not labels[-1].strip():
        yield "; its last line is empty"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(folder: Path, name: str) -> tuple[str, ...]:
    path = layout.inside(folder, name)
    if not path.is_file():
        raise LoadError(f"{name} is missing; the configuration names it as label_filename")
    return _split(_text(path.read_bytes(), name))


def _split(text: str) -> tuple[str, ...]:
    r"""Split a text into lines at \n and \r\n only: labels may hold what splitlines splits at.

    A line end at the end of the text does not begin another line.
    """
    lines = text.replace("\r\n", "\n").removesuffix("\n")
    return tuple(lines.split("\n")) if text else ()


def _text(data: bytes, name: str) -> str:
    """Decode UTF-8, with or without a byte order mark."""
    if data.startswith(OTHER_TEXT) or b"\0" in data:
        raise LoadError(f"{name} is not UTF-8 text: it looks like UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LoadError(
            f"{name} is not UTF-8 text: line {line} holds the byte 0x{data[error.start]:02x}"
        ) from error
