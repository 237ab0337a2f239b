"""Settles how the outputs of a source are read: by options, by shapes, and by what was seen of it.

What none of them tells is refused with the name of the option that does.
"""

from collections.abc import Sequence
from dataclasses import replace

from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts import evidence, fits, parts
from crossrun_export.foreign.layouts.fits import Clues
from crossrun_export.foreign.layouts.layout import Layout
from crossrun_export.foreign.layouts.parts import Found
from crossrun_export.foreign.layouts.raw import Raw, raw
from crossrun_export.foreign.said import (
    NUMBERED,
    BoxOrder,
    BoxUnit,
    DetectionHead,
    LayoutName,
    Said,
)
from crossrun_export.foreign.source import Output
from crossrun_export.runtime import Outputs

# What the layouts are defined by; a source that differs has to say so.
ORDERS: dict[LayoutName, BoxOrder] = {
    "tensorflow": "yxyx",
    "rows": "xyxy",
    "yolo": "cxcywh",
    "yolo-objectness": "cxcywh",
    "detr": "cxcywh",
}
UNITS: dict[LayoutName, BoxUnit] = {"tensorflow": "normalised", "detr": "normalised"}
HEADS: dict[LayoutName, DetectionHead] = {"yolo": "sigmoid", "yolo-objectness": "sigmoid"}
# Outputs of an exported model of TensorFlow's API beside its four. It counts classes from 1
# (label_id_offset in object_detection/exporter_lib_v2.py), and has a score of the background here.
OF_THE_API = ("raw_detection_scores", "detection_multiclass_scores")


def find(
    outputs: Sequence[Output],
    size: tuple[int, int],
    labels: int,
    said: Said,
    seen: Outputs | None = None,
) -> Layout | None:
    """Settle how the outputs of a source are read.

    Args:
        outputs: all that it has.
        size: height and width of its input in pixels; -1 is any.
        labels: how many there are.
        said: what options say.
        seen: what the source itself answers to some real pictures, by name: shapes leave open
            in which unit boxes are, what scores are, and from which number classes count. If it
            contradicts the layout, that is refused.

    Returns:
        The layout; None if these are no outputs of a clues, and nothing says that they are.

    Raises:
        ExportError: something is not told, or does not fit; the message names the option.
    """
    clues = Clues([_as_seen(output, seen) for output in outputs], said, labels, seen)
    found = parts.find(clues)
    if found is None:
        return None
    draft = _draft(found, size, clues)
    _check_said(said, found.layout)
    rows = None if seen is None else raw(seen, draft)
    layout = _settled(draft, found, clues, rows)
    _check_api(layout, clues)
    if rows is not None:
        evidence.check(layout, rows)
    return layout


def _as_seen(output: Output, seen: Outputs | None) -> Output:
    """An output with the sizes that it was seen to have, but the first, which may be the batch."""
    if seen is None or output.name not in seen:
        return output
    return replace(output, shape=(*output.shape[:1], *seen[output.name].shape[1:]))


def _check_said(said: Said, kind: LayoutName) -> None:
    """Refuse what says nothing about a layout: it may be meant for another."""
    if kind in NUMBERED and said.head is not None:
        raise ExportError(f"--head {said.head}: {kind} has no score for each class")
    if kind not in NUMBERED and said.first_class is not None and said.numbers is None:
        raise ExportError(f"--first-class {said.first_class}: {kind} has no numbers of classes")
    if kind == "yolo-objectness" and said.head in ("softmax", "logits"):
        raise ExportError(f"--head {said.head}: {kind} has sigmoid or sigmoid-logits")


def _draft(found: Found, size: tuple[int, int], clues: Clues) -> Layout:
    """All that shapes tell; the rest as it is most often."""
    kind, said = found.layout, clues.said
    order = said.box_order or ORDERS.get(kind)
    if order is None:
        raise ExportError(
            f"{kind}: --box-order says in which order the corners of "
            f"{found.parts['boxes'].name!r} are: yxyx, xyxy or cxcywh"
        )
    main = found.parts.get("rows") or found.parts["boxes"]
    return Layout(
        layout=kind,
        outputs={part: output.name for part, output in found.parts.items()},
        batched=len(main.shape) == 3,
        columns_first=_columns_first(kind, main, clues),
        box_order=order,
        box_unit="normalised",
        size=size,
        numbers=tuple(range(clues.labels)),
        background=said.background or "none",
        head=None if kind in NUMBERED else "sigmoid",
    )


def _columns_first(kind: LayoutName, rows: Output, clues: Clues) -> bool:
    """Whether what belongs to a box is a column and not a row."""
    before = {"yolo": 4, "yolo-objectness": 5}.get(kind)
    if before is None:
        return False
    widths = fits.widths_of_rows(before, clues)
    high, wide = (side in widths for side in rows.shape[-2:])
    if high and wide:
        raise ExportError(
            f"{kind}: output {rows.name!r} has {list(rows.shape)} numbers, and both sides may be "
            "those of a box; expected another number of boxes"
        )
    return high


def _settled(draft: Layout, found: Found, clues: Clues, rows: Raw | None) -> Layout:
    said = clues.said
    unit = said.box_unit or UNITS.get(draft.layout) or evidence.unit(rows)
    if unit is None:
        raise ExportError(
            f"{draft.layout}: --box-unit says whether boxes are in shares of the input "
            "(normalised) or in its pixels"
        )
    if unit == "pixels" and min(draft.size) < 1:
        raise ExportError(
            f"{draft.layout}: boxes are in pixels of the input, whose size is free, "
            f"{list(draft.size)}; --size fixes it"
        )
    if draft.is_numbered:
        numbers = said.numbers or _numbers(draft, clues, rows)
        return replace(draft, box_unit=unit, numbers=numbers)
    columns = _columns(found, clues)
    head = said.head or HEADS.get(draft.layout) or _head(draft.layout, columns, clues, rows)
    numbers = said.numbers or _places(draft.layout, columns, head, clues)
    return replace(draft, box_unit=unit, numbers=numbers, head=head)


def _numbers(draft: Layout, clues: Clues, rows: Raw | None) -> tuple[int, ...]:
    """The numbers of classes without gaps."""
    said, labels, first = clues.said, clues.labels, clues.said.first_class
    if first is None and (said.background == "first" or _is_of_the_api(draft, clues)):
        first = 1
    if first is None:
        first = evidence.first_class(draft, rows)
    if first is None:
        raise ExportError(
            f"{draft.layout}: --first-class says the number of the first label, 0 or 1"
        )
    return tuple(range(first, first + labels))


def _is_of_the_api(draft: Layout, clues: Clues) -> bool:
    return draft.layout == "tensorflow" and bool(_of_the_api(clues))


def _of_the_api(clues: Clues) -> list[Output]:
    return [one for one in clues.outputs if one.name.removesuffix(":0") in OF_THE_API]


def _check_api(layout: Layout, clues: Clues) -> None:
    """Hold the labels against outputs that have a score for each class, after the background's."""
    classes = max(layout.numbers)
    for output in _of_the_api(clues):
        if layout.is_numbered and output.shape[-1] not in (-1, classes + 1):
            raise ExportError(
                f"output {output.name!r} has scores of the background and of "
                f"{output.shape[-1] - 1} classes, and the {len(layout.numbers)} labels have the "
                f"numbers {min(layout.numbers)} to {classes}"
            )


def _columns(found: Found, clues: Clues) -> int:
    """How many scores of classes there are for a box."""
    if "scores" in found.parts:
        return found.parts["scores"].shape[-1]
    before = 4 if found.layout == "yolo" else 5
    shape, widths = found.parts["rows"].shape, fits.widths_of_rows(before, clues)
    return next(side for side in shape[-2:] if side in widths) - before


def _head(kind: LayoutName, columns: int, clues: Clues, rows: Raw | None) -> DetectionHead:
    seen = evidence.head(rows)
    if seen == "logits" and kind == "detr" and columns == clues.labels:
        return "sigmoid-logits"  # a softmax would need a class for nothing
    if seen is None or seen == "logits":
        raise ExportError(
            f"{kind}: --head says what the scores of classes are: softmax or sigmoid if they are "
            "probabilities, logits or sigmoid-logits if they are before a softmax or a sigmoid"
        )
    return seen


def _places(kind: LayoutName, columns: int, head: DetectionHead, clues: Clues) -> tuple[int, ...]:
    """The place of each label among the scores of classes."""
    said, labels = clues.said, clues.labels
    background = said.background
    if background is None and columns == labels:
        background = "none"
    if background is None and kind == "detr" and head in ("logits", "softmax"):
        background = "last"  # as DETR has it
    if background is None:
        raise ExportError(
            f"{kind}: there are {columns} scores and {labels} labels; --background says whether "
            "the first or the last is of no object"
        )
    if columns - labels != (background != "none"):
        raise ExportError(
            f"--background {background}: there are {columns} scores and {labels} labels"
        )
    return tuple(range(background == "first", labels + (background == "first")))
