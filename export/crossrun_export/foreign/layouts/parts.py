"""Which output plays which part: told by options, by names that are known, or by shapes."""

from collections.abc import Mapping
from typing import NamedTuple

from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts.fits import (
    FITS,
    FITS_AS_SAID,
    Clues,
    Parts,
    given,
    is_matrix,
    is_whole,
    tells,
)
from crossrun_export.foreign.said import PARTS, LayoutName, Said

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


class Found(NamedTuple):
    """A layout, and the outputs that are its parts."""

    layout: LayoutName
    parts: Parts


def find(clues: Clues) -> Found | None:
    """Find the layout of some outputs; None if none of them is a detector's.

    Raises:
        ExportError: several layouts fit, or none although the outputs look like a detector's or
            options say that they are.
    """
    said = clues.said
    _check_parts(said)
    named = _named(clues)
    if said.layout:
        return _as_said(said.layout, named, clues)
    if named:
        return named
    fitting = {layout: parts for layout, fit in FITS.items() if (parts := fit(clues))}
    if fitting:
        return _the_only(fitting, clues)
    if said.outputs or any(is_matrix(output, clues) for output in clues.outputs):
        raise ExportError(f"the outputs fit no layout of a detector{given(clues)}")
    return None


def _as_said(layout: LayoutName, named: Found | None, clues: Clues) -> Found:
    if named and named.layout == layout:
        return named
    if parts := FITS_AS_SAID[layout](clues):
        return Found(layout, parts)
    raise ExportError(f"--layout {layout}: the outputs do not fit it{given(clues)}")


def _the_only(fitting: dict[LayoutName, Parts], clues: Clues) -> Found:
    """Choose among the layouts that fit."""
    if "apart" in fitting:  # what is left of the others after suppression
        return Found("apart", fitting["apart"])
    if "rows" in fitting and len(fitting) > 1 and tells(fitting["rows"]["rows"], clues):
        is_rows = is_whole(fitting["rows"]["rows"], clues, column=5)
        fitting = {one: parts for one, parts in fitting.items() if (one == "rows") is is_rows}
    if len(fitting) == 1 and "ssd" not in fitting:
        return Found(*next(iter(fitting.items())))
    names = [*(["detr"] if "ssd" in fitting else []), *fitting]
    raise ExportError(f"the outputs may be {' or '.join(names)}; --layout says which{given(clues)}")


def _named(clues: Clues) -> Found | None:
    """The layout that the names of the outputs tell, whatever other outputs there are."""
    if clues.said.outputs:
        return None
    by_name = {output.name.removesuffix(":0"): output for output in clues.outputs}
    known: list[tuple[LayoutName, Mapping[str, str]]] = [
        ("tensorflow", TENSORFLOW), ("tensorflow", LITERT), *(("detr", names) for names in DETR),
    ]  # fmt: skip
    for layout, names in known:
        parts = {part: by_name[name] for part, name in names.items() if name in by_name}
        if parts.keys() >= set(PARTS[layout]) - {"count"}:
            return Found(layout, parts)
    return None


def _check_parts(said: Said) -> None:
    known = (
        PARTS[said.layout] if said.layout else sorted({part for p in PARTS.values() for part in p})
    )
    for part in said.outputs:
        if part not in known:
            raise ExportError(f"--part {part}: expected one of {', '.join(known)}")
