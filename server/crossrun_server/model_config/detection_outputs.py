"""Which outputs of a model are detections, and how to read them.

By default these are the four of the TensorFlow Object Detection API; `parameters` in config.pbtxt
may name others. Knows no arrays and no requests.

Source of the names and their meaning: object_detection/g3doc/running_on_mobile_tf2.md and
exporter_lib_v2.py of https://github.com/tensorflow/models.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.tensors.tensor_spec import DTYPES, TensorSpec

PREFIX = "detection."
OUTPUTS = {  # by part; the output of `count` may be missing
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "count": "num_detections",
}
ROWS = ("boxes", "scores", "classes")  # parts with a row for each detection
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "boxes": ((-1, -1, 4),),
    "scores": ((-1, -1),),
    "classes": ((-1, -1),),
    "count": ((-1,), (-1, 1), ()),
}
VALUES = {  # the default first
    "box_order": ("yxyx", "xyxy"),
    "box_unit": ("normalised", "pixels"),
    "first_class": ("0", "1"),
}
LONGEST_SIDE, MIN_SCORE = "longest_side", "min_score"
# Pixels of a side that the model leaves free. For 4 megapixels a small network needs hundreds of
# megabytes; for a camera's 50 it would need gigabytes for each request.
DEFAULT_LONGEST = 2048
NUMBERS = DTYPES.keys() - {"BOOL", "BYTES", "BF16"}


@dataclass(frozen=True)
class DetectionOutputs:
    """The outputs of a detector, by name, and how to read them."""

    boxes: str
    scores: str
    classes: str
    count: str | None  # None: all rows with a score above 0 are detections
    box_order: str = "yxyx"
    box_unit: str = "normalised"
    first_class: int = 0  # the number of the first label
    longest_side: int = DEFAULT_LONGEST  # pixels of a side of the input, if it is free
    min_score: float | None = None  # that a detection has if nobody asks for others

    @property
    def rows(self) -> tuple[str, ...]:
        """The outputs that have a row for each detection."""
        return (self.boxes, self.scores, self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """All of these outputs."""
        return (*self.rows, *([self.count] if self.count else []))


def understands(key: str) -> bool:
    """Whether a key of `parameters` says how to read detections."""
    return key.startswith(PREFIX)


def read(proto: pb.ModelConfig, outputs: Sequence[TensorSpec]) -> DetectionOutputs | None:
    """Find a model's detections; None if it has none and the configuration names none.

    Raises:
        LoadError: what the configuration says about detections does not fit the model.
    """
    given = _given(proto)
    specs = {spec.name: spec for spec in outputs}
    names = {part: _default(name, specs) for part, name in OUTPUTS.items()}
    names |= {key: value for key, value in given.items() if key in OUTPUTS}
    if "count" not in given and names["count"] not in specs:
        del names["count"]
    wrong = [text for part, name in names.items() if (text := _wrong(part, specs.get(name), name))]
    wrong = wrong or _unlike([specs[names[part]] for part in ROWS])
    if wrong and not given:
        return None
    if wrong:
        raise LoadError(f"{'; '.join(wrong)}; the outputs are {', '.join(specs)}")
    how = {key: given.get(key, values[0]) for key, values in VALUES.items()}
    return DetectionOutputs(
        boxes=names["boxes"],
        scores=names["scores"],
        classes=names["classes"],
        count=names.get("count"),
        box_order=how["box_order"],
        box_unit=how["box_unit"],
        first_class=int(how["first_class"]),
        longest_side=int(given.get(LONGEST_SIDE, DEFAULT_LONGEST)),
        min_score=float(given[MIN_SCORE]) if MIN_SCORE in given else None,
    )


def _default(name: str, specs: Container[str]) -> str:
    """Return an output's name, or the one that tf2onnx gives it if the model was a frozen graph."""
    frozen = f"{name}:0"
    return frozen if name not in specs and frozen in specs else name


def _given(proto: pb.ModelConfig) -> dict[str, str]:
    """Return what `parameters` say about detections, by the key without its prefix."""
    given = {
        key.removeprefix(PREFIX): value.string_value
        for key, value in proto.parameters.items()
        if understands(key)
    }
    known = (*OUTPUTS, *VALUES, LONGEST_SIDE, MIN_SCORE)
    for key, value in given.items():
        if key not in known:
            names = ", ".join(PREFIX + name for name in known)
            raise LoadError(f"parameters {PREFIX + key!r} is unknown, expected one of {names}")
        if key in VALUES and value not in VALUES[key]:
            expected = " or ".join(VALUES[key])
            raise LoadError(f"parameters {PREFIX + key!r} is {value!r}, expected {expected}")
        if key == LONGEST_SIDE and not (value.isascii() and value.isdecimal() and int(value)):
            raise LoadError(f"parameters {PREFIX + key!r} is {value!r}, expected pixels, 1 or more")
        if key == MIN_SCORE and not _is_share(value):
            raise LoadError(f"parameters {PREFIX + key!r} is {value!r}, expected a score, 0 to 1")
    return given


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _wrong(part: str, spec: TensorSpec | None, name: str) -> str:
    """Say what is wrong with an output as a part of detections; empty if nothing is."""
    if spec is None:
        return f"{PREFIX}{part}: the model has no output {name!r}"
    if spec.datatype in NUMBERS and any(_fits(spec.shape, shape) for shape in SHAPES[part]):
        return ""
    expected = " or ".join(str(list(shape)) for shape in SHAPES[part])
    return (
        f"{PREFIX}{part}: output {name!r} is {spec.datatype} {list(spec.shape)}, "
        f"expected numbers of {expected}"
    )


def _unlike(specs: Sequence[TensorSpec]) -> list[str]:
    """Say that outputs have different numbers of rows, if they do."""
    if len({spec.shape[1] for spec in specs} - {-1}) < 2:
        return []
    rows = ", ".join(f"{spec.name!r} {spec.shape[1]}" for spec in specs)
    return [f"the outputs of detections have different numbers of rows: {rows}"]


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        -1 in (have, want) or have == want for have, want in zip(shape, expected, strict=True)
    )
