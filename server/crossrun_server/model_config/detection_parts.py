"""Which outputs are the parts of detections, in each layout that detectors have.

A part may be named. If not, it is the only output whose shape and type fit; the four outputs of
TensorFlow's API have their own names. Knows no arrays and no requests.

Source of these names and their meaning: object_detection/g3doc/running_on_mobile_tf2.md and
exporter_lib_v2.py of https://github.com/tensorflow/models.
"""

from collections.abc import Mapping, Sequence

from crossrun_server.errors import LoadError
from crossrun_server.tensors.tensor_spec import DTYPES, TensorSpec

TENSORFLOW = {  # by part; the output of `count` may be missing
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "count": "num_detections",
}
Shapes = tuple[tuple[int, ...], ...]  # that a part may have; -1 is any size
BOXES: Shapes = ((-1, -1, 4), (-1, 4))
VECTOR: Shapes = ((-1, -1), (-1,))
MATRIX: Shapes = ((-1, -1, -1), (-1, -1))
COUNT: Shapes = ((-1,), (-1, 1), ())
FOUR = {"boxes": BOXES, "scores": VECTOR, "classes": VECTOR, "count": COUNT}
CLASS_SCORES = {"boxes": BOXES, "scores": MATRIX}
# Shapes by layout and part: first with a dimension for the batch, then without.
LAYOUTS: Mapping[str, Mapping[str, Shapes]] = {
    "tensorflow": FOUR,
    "apart": FOUR,
    "rows": {"rows": ((-1, -1, 6), (-1, 6))},
    "yolo": {"rows": MATRIX},
    "yolo-objectness": {"rows": MATRIX},
    "detr": CLASS_SCORES,
    "ssd": CLASS_SCORES,
}
PARTS = ("boxes", "scores", "classes", "count", "rows")
NUMBERS = DTYPES.keys() - {"BOOL", "BYTES", "BF16"}
FLOATS = {"FP16", "FP32", "FP64"}


def find(layout: str, named: Mapping[str, str], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Return the output of each part.

    Args:
        layout: one of LAYOUTS.
        named: outputs by part, as config.pbtxt names them.
        outputs: all of the model.

    Raises:
        LoadError: they do not fit the layout, or do not tell which is which.
    """
    shapes = LAYOUTS[layout]
    if layout == "tensorflow":
        names = _known(named, {spec.name for spec in outputs})
    else:
        names = dict(named) | {
            part: found
            for part in shapes
            if part not in named and (found := _only(part, shapes[part], named, outputs))
        }
    specs = {spec.name: spec for spec in outputs}
    wrong = [text for part, name in names.items()
             if (text := _wrong(part, specs.get(name), name, shapes[part]))]  # fmt: skip
    wrong = wrong or _unlike(
        {specs[n]: shapes[part] for part, n in names.items() if part != "count"}
    )
    if wrong:
        raise LoadError(f"{'; '.join(wrong)}; the outputs are {', '.join(specs)}")
    return {part: names[part] for part in shapes if part in names}


def _known(named: Mapping[str, str], outputs: set[str]) -> dict[str, str]:
    """The names of TensorFlow's API, or as tf2onnx makes them of a frozen graph."""
    own = {
        part: f"{name}:0" if name not in outputs and f"{name}:0" in outputs else name
        for part, name in TENSORFLOW.items()
    }
    if own["count"] not in outputs:
        del own["count"]
    return own | dict(named)


def _only(
    part: str, shapes: Shapes, named: Mapping[str, str], outputs: Sequence[TensorSpec]
) -> str | None:
    """The only output that fits a part; None for a count that is missing."""
    found = [
        spec.name
        for spec in outputs
        if spec.name not in named.values()
        and any(fits(spec.shape, shape) for shape in shapes)
        and _is_of(part, spec, named)
    ]
    if len(found) == 1:
        return found[0]
    if part == "count":
        return None
    told = ", ".join(found) or "none"
    raise LoadError(
        f"parameters 'detection.{part}' is missing, and the outputs do not tell which it is: "
        f"{told} may be, of {_listed(outputs)}; expected its name"
    )


def _is_of(part: str, spec: TensorSpec, named: Mapping[str, str]) -> bool:
    """Whether an output may be a part that is not named: classes are whole numbers."""
    if part == "scores" and "boxes" not in named and spec.shape[-1:] == (4,):
        return False  # it may be the boxes
    is_float = spec.datatype in FLOATS
    return not is_float if part == "classes" else is_float or part == "count"


def _wrong(part: str, spec: TensorSpec | None, name: str, shapes: Shapes) -> str:
    """Say what is wrong with an output as a part of detections; empty if nothing is."""
    if spec is None:
        return f"detection.{part}: the model has no output {name!r}"
    if spec.datatype in NUMBERS and any(fits(spec.shape, shape) for shape in shapes):
        return ""
    expected = " or ".join(str(list(shape)) for shape in shapes)
    return (
        f"detection.{part}: output {name!r} is {spec.datatype} {list(spec.shape)}, "
        f"expected numbers of {expected}"
    )


def _unlike(parts: Mapping[TensorSpec, Shapes]) -> list[str]:
    """Say that outputs have different numbers of rows, or not all a batch, if they do."""
    lacking = {len(shapes[0]) - len(spec.shape) for spec, shapes in parts.items()}
    if len(lacking) > 1:
        return [f"only some outputs of detections have a batch: {_listed([*parts])}"]
    (place,) = (1 - missing for missing in lacking)
    if len({spec.shape[place] for spec in parts} - {-1}) < 2:
        return []
    rows = ", ".join(f"{spec.name!r} {spec.shape[place]}" for spec in parts)
    return [f"the outputs of detections have different numbers of rows: {rows}"]


def _listed(outputs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name!r} {spec.datatype} {list(spec.shape)}" for spec in outputs)


def fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether a shape may be another; -1 is any size."""
    return len(shape) == len(expected) and all(
        -1 in (have, want) or have == want for have, want in zip(shape, expected, strict=True)
    )
