"""Which outputs of a source may be the parts of each layout, by shape, type and name."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from crossrun_export.errors import ExportError
from crossrun_export.foreign.said import TABLE, LayoutName, Said
from crossrun_export.foreign.source import Output
from crossrun_export.runtime import Outputs

Parts = dict[str, Output]

OF_BOXES = ("box", "loc")
OF_SCORES, OF_CLASSES = ("score", "conf", "prob"), ("class", "label", "categor")


class Clues(NamedTuple):
    """What is known of a source's outputs."""

    outputs: Sequence[Output]
    said: Said
    labels: int
    seen: Outputs | None

    def among(self, part: str) -> list[Output]:
        """The outputs that may be a part: the one that was said, or all."""
        if part not in self.said.outputs:
            taken = {name for other, name in self.said.outputs.items() if other != part}
            return [output for output in self.outputs if output.name not in taken]
        name = self.said.outputs[part]
        found = [output for output in self.outputs if output.name == name]
        if not found:
            names = ", ".join(output.name for output in self.outputs)
            raise ExportError(f"--part {part}={name}: expected one of the outputs: {names}")
        return found

    @property
    def classes(self) -> frozenset[int]:
        """How many scores of classes a box may have, the background's left out."""
        if not self.said.numbers:
            return frozenset({self.labels})
        highest = max(self.said.numbers)
        return frozenset({highest, highest + 1})


def _apart(clues: Clues) -> Parts | None:
    boxes = _boxes([one for one in clues.among("boxes") if _is_boxes(one)])
    if boxes is None:
        return None
    vectors = {
        part: [output for output in clues.among(part) if _is_vector(output, boxes)]
        for part in ("scores", "classes")
    }
    if not all(vectors.values()):
        return None
    roles = _roles(vectors["scores"], vectors["classes"], clues)
    counts = [output for output in clues.among("count") if output not in roles.values()]
    count = _one(counts, lambda output: _is_count(output, boxes))
    return {"boxes": boxes, **roles} | ({"count": count} if count else {})


def _roles(scores: Sequence[Output], classes: Sequence[Output], clues: Clues) -> Parts:
    """Tell scores from classes: by type, by name, or by what they were seen to hold."""
    if len(scores) == len(classes) == 1 and scores != classes:
        return {"scores": scores[0], "classes": classes[0]}
    tellers: list[tuple[Callable[[Output], bool], Callable[[Output], bool]]] = [
        (lambda one: one.dtype.kind == "f", lambda one: one.dtype.kind in "iu"),
        (lambda one: _has(one, OF_SCORES), lambda one: _has(one, OF_CLASSES)),
        (lambda one: not is_whole(one, clues), lambda one: is_whole(one, clues)),
    ]
    for is_scores, is_classes in tellers:
        score, number = _one(scores, is_scores), _one(classes, is_classes)
        if score and number and score != number:
            return {"scores": score, "classes": number}
    raise ExportError(
        "which output has the scores and which the classes is not told by types, names or values; "
        f"--part scores=NAME --part classes=NAME says it{given(clues)}"
    )


def _class_scores(clues: Clues) -> Parts | None:
    fitting = [one for one in clues.among("boxes") if _is_boxes(one)]
    boxes = _boxes([one for one in fitting if is_matrix(one, clues)])
    if boxes is None:
        return None
    widths = {count + more for count in clues.classes for more in (0, 1)}
    scores = _one(
        [output for output in clues.among("scores") if output != boxes],
        lambda one: _is_like(one, boxes) and one.shape[-1] in widths,
    )
    return {"boxes": boxes, "scores": scores} if scores else None


def _rows(clues: Clues) -> Parts | None:
    # [batch, 6] may be a classifier, but not one of another number of labels.
    other = abs(clues.labels - 6) > 1
    found = _one(
        clues.among("rows"),
        lambda one: (
            one.shape[-1:] == (6,) and (is_matrix(one, clues) or (other and len(one.shape) == 2))
        ),
    )
    return {"rows": found} if found else None


def _columns(before: int) -> Callable[[Clues], Parts | None]:
    """Rows of a box, what is `before` the classes in all, and a score for each class."""

    def fit(clues: Clues) -> Parts | None:
        widths = widths_of_rows(before, clues)
        found = _one(
            clues.among("rows"),
            lambda one: is_matrix(one, clues) and not widths.isdisjoint(one.shape[-2:]),
        )
        return {"rows": found} if found else None

    return fit


def widths_of_rows(before: int, clues: Clues) -> frozenset[int]:
    """How many numbers a row of the YOLO kind may have."""
    said = clues.said
    more = said.background in ("first", "last") and not said.numbers
    return frozenset(before + count + more for count in clues.classes)


FITS: Mapping[LayoutName, Callable[[Clues], Parts | None]] = {
    "apart": _apart,
    "rows": _rows,
    "yolo": _columns(4),
    "yolo-objectness": _columns(5),
    "ssd": _class_scores,
}
# Shapes do not tell these from others: names do, or options.
FITS_AS_SAID = {"tensorflow": _apart, "detr": _class_scores, **FITS}


def tells(output: Output, clues: Clues) -> bool:
    """Whether values of an output were seen that are not all zero."""
    return clues.seen is not None and bool(np.any(clues.seen[output.name]))


def is_whole(output: Output, clues: Clues, column: int | None = None) -> bool:
    """Whether all values that were seen of an output, or of a column, are whole numbers."""
    if clues.seen is None:
        return False
    values = clues.seen[output.name]
    values = values if column is None else values[..., column]
    return bool(np.all(values == np.round(values)))


def given(clues: Clues) -> str:
    """The outputs and the table, for the end of a message."""
    outputs = ", ".join(
        f"{output.name!r} {output.dtype.name} {list(output.shape)}" for output in clues.outputs
    )
    return (
        f"; there are {clues.labels} labels and the outputs {outputs}; --layout and --part "
        f"boxes=NAME say what they are; layouts are {TABLE}; see docs/detectors.md"
    )


def _one(outputs: Sequence[Output], fits: Callable[[Output], bool]) -> Output | None:
    found = [output for output in outputs if fits(output)]
    return found[0] if len(found) == 1 else None


def _boxes(outputs: Sequence[Output]) -> Output | None:
    """The only output that may be boxes, or that is called so: scores may have four classes."""
    return _one(outputs, lambda _: True) or _one(outputs, lambda one: _has(one, OF_BOXES))


def _is_boxes(output: Output) -> bool:
    return len(output.shape) in (2, 3) and output.shape[-1] == 4 and output.dtype.kind == "f"


def is_matrix(output: Output, clues: Clues) -> bool:
    """Whether an output has rows in each picture; [batch, 6] of a classifier has not."""
    told = clues.said.layout or output.name in clues.said.outputs.values()
    return len(output.shape) == 3 or (len(output.shape) == 2 and bool(told or output.shape[0] > 1))


def _is_like(output: Output, boxes: Output) -> bool:
    return len(output.shape) == len(boxes.shape) and _alike(output.shape[-2], boxes.shape[-2])


def _is_vector(output: Output, boxes: Output) -> bool:
    return len(output.shape) == len(boxes.shape) - 1 and _alike(output.shape[-1], boxes.shape[-2])


def _is_count(output: Output, boxes: Output) -> bool:
    """One number for each picture."""
    batched = len(boxes.shape) == 3
    return len(output.shape) <= batched or output.shape[batched:] == (1,)


def _alike(one: int, other: int) -> bool:
    return -1 in (one, other) or one == other


def _has(output: Output, words: Sequence[str]) -> bool:
    return any(word in output.name.lower() for word in words)
