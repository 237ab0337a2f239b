"""Which output plays which part: told by options, by names that are known, or by shapes."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from crossrun_export.errors import ExportError
from crossrun_export.foreign.said import PARTS, TABLE, LayoutName, Said
from crossrun_export.foreign.source import Output
from crossrun_export.runtime import Outputs

Parts = dict[str, Output]

# Source: object_detection/exporter_lib_v2.py of https://github.com/tensorflow/models
TENSORFLOW = {
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "count": "num_detections",
}
# Source: tensorflow/lite/kernels/detection_postprocess.cc of https://github.com/tensorflow/tensorflow
LITERT = {
    "boxes": "TFLite_Detection_PostProcess",
    "classes": "TFLite_Detection_PostProcess:1",
    "scores": "TFLite_Detection_PostProcess:2",
    "count": "TFLite_Detection_PostProcess:3",
}
# Source: models/detr.py of https://github.com/facebookresearch/detr, and the export of DETR by
# Hugging Face, which names the logits so.
DETR = (
    {"boxes": "pred_boxes", "scores": "pred_logits"},
    {"boxes": "pred_boxes", "scores": "logits"},
)
OF_BOXES = ("box", "loc")
OF_SCORES, OF_CLASSES = ("score", "conf", "prob"), ("class", "label", "categor")


class Found(NamedTuple):
    """A layout, and the outputs that are its parts."""

    layout: LayoutName
    parts: Parts


class Detector(NamedTuple):
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


def find(detector: Detector) -> Found | None:
    """Find the layout of some outputs; None if none of them is a detector's.

    Raises:
        ExportError: several layouts fit, or none although the outputs look like a detector's or
            options say that they are.
    """
    said = detector.said
    _check_parts(said)
    named = _named(detector)
    if said.layout:
        return _as_said(said.layout, named, detector)
    if named:
        return named
    fitting = {layout: parts for layout, fit in FITS.items() if (parts := fit(detector))}
    if fitting:
        return _the_only(fitting, detector)
    if said.outputs or any(_is_matrix(output, detector) for output in detector.outputs):
        raise ExportError(f"the outputs fit no layout of a detector{_given(detector)}")
    return None


def _as_said(layout: LayoutName, named: Found | None, detector: Detector) -> Found:
    if named and named.layout == layout:
        return named
    if parts := ({"tensorflow": _apart, "detr": _class_scores} | FITS)[layout](detector):
        return Found(layout, parts)
    raise ExportError(f"--layout {layout}: the outputs do not fit it{_given(detector)}")


def _the_only(fitting: dict[LayoutName, Parts], detector: Detector) -> Found:
    """Choose among the layouts that fit."""
    if "apart" in fitting:  # what is left of the others after suppression
        return Found("apart", fitting["apart"])
    if "rows" in fitting and len(fitting) > 1 and _tells(fitting["rows"]["rows"], detector):
        is_rows = _is_whole(fitting["rows"]["rows"], detector, column=5)
        fitting = {one: parts for one, parts in fitting.items() if (one == "rows") is is_rows}
    if len(fitting) == 1 and "ssd" not in fitting:
        return Found(*next(iter(fitting.items())))
    names = [*(["detr"] if "ssd" in fitting else []), *fitting]
    raise ExportError(
        f"the outputs may be {' or '.join(names)}; --layout says which{_given(detector)}"
    )


def _named(detector: Detector) -> Found | None:
    """The layout that the names of the outputs tell, whatever other outputs there are."""
    if detector.said.outputs:
        return None
    by_name = {output.name.removesuffix(":0"): output for output in detector.outputs}
    known: list[tuple[LayoutName, Mapping[str, str]]] = [
        ("tensorflow", TENSORFLOW), ("tensorflow", LITERT), *(("detr", names) for names in DETR),
    ]  # fmt: skip
    for layout, names in known:
        parts = {part: by_name[name] for part, name in names.items() if name in by_name}
        if parts.keys() >= set(PARTS[layout]) - {"count"}:
            return Found(layout, parts)
    return None


def _apart(detector: Detector) -> Parts | None:
    boxes = _boxes([one for one in detector.among("boxes") if _is_boxes(one)])
    if boxes is None:
        return None
    vectors = {
        part: [output for output in detector.among(part) if _is_vector(output, boxes)]
        for part in ("scores", "classes")
    }
    if not all(vectors.values()):
        return None
    roles = _roles(vectors["scores"], vectors["classes"], detector)
    counts = [output for output in detector.among("count") if output not in roles.values()]
    count = _one(counts, lambda output: _is_count(output, boxes))
    return {"boxes": boxes, **roles} | ({"count": count} if count else {})


def _roles(scores: Sequence[Output], classes: Sequence[Output], detector: Detector) -> Parts:
    """Tell scores from classes: by type, by name, or by what they were seen to hold."""
    if len(scores) == len(classes) == 1 and scores != classes:
        return {"scores": scores[0], "classes": classes[0]}
    tellers: list[tuple[Callable[[Output], bool], Callable[[Output], bool]]] = [
        (lambda one: one.dtype.kind == "f", lambda one: one.dtype.kind in "iu"),
        (lambda one: _has(one, OF_SCORES), lambda one: _has(one, OF_CLASSES)),
        (lambda one: not _is_whole(one, detector), lambda one: _is_whole(one, detector)),
    ]
    for is_scores, is_classes in tellers:
        score, number = _one(scores, is_scores), _one(classes, is_classes)
        if score and number and score != number:
            return {"scores": score, "classes": number}
    raise ExportError(
        "which output has the scores and which the classes is not told by types, names or values; "
        f"--part scores=NAME --part classes=NAME says it{_given(detector)}"
    )


def _class_scores(detector: Detector) -> Parts | None:
    fitting = [one for one in detector.among("boxes") if _is_boxes(one)]
    boxes = _boxes([one for one in fitting if _is_matrix(one, detector)])
    if boxes is None:
        return None
    widths = {count + more for count in detector.classes for more in (0, 1)}
    scores = _one(
        [output for output in detector.among("scores") if output != boxes],
        lambda one: _is_like(one, boxes) and one.shape[-1] in widths,
    )
    return {"boxes": boxes, "scores": scores} if scores else None


def _rows(detector: Detector) -> Parts | None:
    found = _one(
        detector.among("rows"), lambda one: _is_matrix(one, detector) and one.shape[-1] == 6
    )
    return {"rows": found} if found else None


def _columns(before: int) -> Callable[[Detector], Parts | None]:
    """Rows of a box, what is `before` the classes in all, and a score for each class."""

    def fit(detector: Detector) -> Parts | None:
        widths = widths_of_rows(before, detector)
        found = _one(
            detector.among("rows"),
            lambda one: _is_matrix(one, detector) and not widths.isdisjoint(one.shape[-2:]),
        )
        return {"rows": found} if found else None

    return fit


def widths_of_rows(before: int, detector: Detector) -> frozenset[int]:
    """How many numbers a row of the YOLO kind may have."""
    said = detector.said
    more = said.background in ("first", "last") and not said.numbers
    return frozenset(before + count + more for count in detector.classes)


FITS: Mapping[LayoutName, Callable[[Detector], Parts | None]] = {
    "apart": _apart,
    "rows": _rows,
    "yolo": _columns(4),
    "yolo-objectness": _columns(5),
    "ssd": _class_scores,
}


def _one(outputs: Sequence[Output], fits: Callable[[Output], bool]) -> Output | None:
    found = [output for output in outputs if fits(output)]
    return found[0] if len(found) == 1 else None


def _boxes(outputs: Sequence[Output]) -> Output | None:
    """The only output that may be boxes, or that is called so: scores may have four classes."""
    return _one(outputs, lambda _: True) or _one(outputs, lambda one: _has(one, OF_BOXES))


def _is_boxes(output: Output) -> bool:
    return len(output.shape) in (2, 3) and output.shape[-1] == 4 and output.dtype.kind == "f"


def _is_matrix(output: Output, detector: Detector) -> bool:
    """Whether an output has rows in each picture; [batch, 6] of a classifier has not."""
    told = detector.said.layout or output.name in detector.said.outputs.values()
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


def _tells(output: Output, detector: Detector) -> bool:
    """Whether values of an output were seen that are not all zero."""
    return detector.seen is not None and bool(np.any(detector.seen[output.name]))


def _is_whole(output: Output, detector: Detector, column: int | None = None) -> bool:
    """Whether all values that were seen of an output, or of a column, are whole numbers."""
    if detector.seen is None:
        return False
    values = detector.seen[output.name]
    values = values if column is None else values[..., column]
    return bool(np.all(values == np.round(values)))


def _check_parts(said: Said) -> None:
    known = (
        PARTS[said.layout] if said.layout else sorted({part for p in PARTS.values() for part in p})
    )
    for part in said.outputs:
        if part not in known:
            raise ExportError(f"--part {part}: expected one of {', '.join(known)}")


def _given(detector: Detector) -> str:
    """The outputs and the table, for the end of a message."""
    outputs = ", ".join(
        f"{output.name!r} {output.dtype.name} {list(output.shape)}" for output in detector.outputs
    )
    return (
        f"; there are {detector.labels} labels and the outputs {outputs}; --layout and --part "
        f"boxes=NAME say what they are; layouts are {TABLE}; see docs/detectors.md"
    )
