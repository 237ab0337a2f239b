"""How the outputs of a detector are to be read, as `parameters` in config.pbtxt say it.

Without any, a model with the four outputs of TensorFlow's API is a detector. Whatever a layout does
not define, and no shape tells, has to be said: a wrong guess would be a wrong answer. Knows no
arrays and no requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import detection_parts
from crossrun_server.model_config.detection_parts import LAYOUTS, PARTS
from crossrun_server.tensors.tensor_spec import TensorSpec

PREFIX = "detection."
LONGEST_SIDE, MIN_SCORE, BACKGROUND = "longest_side", "min_score", "background"
VALUES: Mapping[str, tuple[str, ...]] = {
    "layout": tuple(LAYOUTS),
    "box_order": ("yxyx", "xyxy", "cxcywh"),
    "box_unit": ("normalised", "pixels"),
    "first_class": ("0", "1"),
    "head": ("softmax", "sigmoid", "logits", "sigmoid-logits"),
    BACKGROUND: ("none", "first", "last"),
}
NUMBERED = ("tensorflow", "apart", "rows")  # a detection has the number of its class
# What a layout defines, by key; any other value has to be said.
DEFINED: Mapping[str, Mapping[str, str]] = {
    "tensorflow": {"box_order": "yxyx", "box_unit": "normalised", "first_class": "0"},
    "apart": {"first_class": "0"},
    "rows": {"box_order": "xyxy", "first_class": "0"},
    "yolo": {"box_order": "cxcywh", "head": "sigmoid"},
    "yolo-objectness": {"box_order": "cxcywh", "head": "sigmoid"},
    "detr": {"box_order": "cxcywh", "box_unit": "normalised"},
    "ssd": {},
}
# Of layouts in which every box has some score: what the export takes as well.
DEFAULT_MIN_SCORE = 0.3
# Pixels of a side that the model leaves free. For 4 megapixels a small network needs hundreds of
# megabytes; for a camera's 50 it would need gigabytes for each request.
DEFAULT_LONGEST = 2048


@dataclass(frozen=True)
class DetectionOutputs:
    """The outputs of a detector, by part, and how to read them."""

    layout: str  # one of LAYOUTS
    parts: Mapping[str, str]  # part → output; without `count` all rows with a score are detections
    batched: bool  # whether they have a dimension for the batch
    box_order: str
    box_unit: str
    first_class: int  # the number of the first label
    head: str | None  # what the scores of each class are; None if a detection has one class
    background: str  # which of them is of no object: "none", "first" or "last"
    longest_side: int  # pixels of a side of the input, if it is free
    min_score: float | None  # that a detection has if nobody asks for others

    @property
    def names(self) -> tuple[str, ...]:
        """All of these outputs."""
        return tuple(self.parts.values())

    @property
    def labelled(self) -> str:
        """The output whose labels name the classes."""
        return _labelled(self.parts)

    @property
    def overlaps(self) -> bool:
        """Whether several boxes may show one object, so that they have to be suppressed."""
        return self.layout in ("yolo", "yolo-objectness", "ssd")

    @property
    def before_classes(self) -> int:
        """How many numbers of a row come before the scores of its classes."""
        return {"yolo": 4, "yolo-objectness": 5}.get(self.layout, 0)

    def label_counts(self, shape: Sequence[int]) -> frozenset[int] | None:
        """How many labels `labelled` may have if it has this shape; None if that tells nothing."""
        if self.head is None or not shape:
            return None
        sides = shape[-2:] if self.before_classes else shape[-1:]
        taken = self.before_classes + (self.background != "none")
        counts = frozenset(side - taken for side in sides if side > taken)
        return counts if -1 not in sides else None


def understands(key: str) -> bool:
    """Whether a key of `parameters` says how to read detections."""
    return key.startswith(PREFIX)


def read(proto: pb.ModelConfig, outputs: Sequence[TensorSpec]) -> DetectionOutputs | None:
    """Find a model's detections; None if it has none and the configuration names none.

    Raises:
        LoadError: what the configuration says about detections does not fit the model, or does not
            say all that has to be said.
    """
    given = _given(proto)
    layout = given.get("layout", "tensorflow")
    named = {key: value for key, value in given.items() if key in PARTS}
    _check_keys(layout, given)
    try:
        parts = detection_parts.find(layout, named, outputs)
    except LoadError:
        if given:
            raise
        return None
    _check_labels(layout, parts, proto)
    main = parts.get("rows") or parts["boxes"]
    numbered = layout in NUMBERED
    return DetectionOutputs(
        layout=layout,
        parts=parts,
        batched=next(len(spec.shape) for spec in outputs if spec.name == main) == 3,
        box_order=_said("box_order", layout, given),
        box_unit=_said("box_unit", layout, given),
        first_class=int(_said("first_class", layout, given)) if numbered else 0,
        head=None if numbered else _said("head", layout, given),
        background="none" if numbered else _background(layout, given),
        longest_side=int(given.get(LONGEST_SIDE, DEFAULT_LONGEST)),
        min_score=_min_score(layout, given),
    )


def _labelled(parts: Mapping[str, str]) -> str:
    return parts.get("classes") or parts.get("rows") or parts["scores"]


def _said(key: str, layout: str, given: Mapping[str, str]) -> str:
    value = given.get(key) or DEFINED[layout].get(key)
    if value is None:
        raise LoadError(
            f"parameters {PREFIX + key!r} is missing, and {layout!r} does not tell it; expected "
            f"{' or '.join(VALUES[key])}"
        )
    return value


def _background(layout: str, given: Mapping[str, str]) -> str:
    """Probabilities of one choice among all classes need a class for nothing."""
    if _said("head", layout, given) in ("softmax", "logits"):
        return _said(BACKGROUND, layout, given)
    return given.get(BACKGROUND, "none")


def _min_score(layout: str, given: Mapping[str, str]) -> float | None:
    default = None if layout in NUMBERED else DEFAULT_MIN_SCORE
    return float(given[MIN_SCORE]) if MIN_SCORE in given else default


def _given(proto: pb.ModelConfig) -> dict[str, str]:
    """Return what `parameters` say about detections, by the key without its prefix."""
    given = {
        key.removeprefix(PREFIX): value.string_value
        for key, value in proto.parameters.items()
        if understands(key)
    }
    known = (*PARTS, *VALUES, LONGEST_SIDE, MIN_SCORE)
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


def _check_keys(layout: str, given: Mapping[str, str]) -> None:
    """Refuse what says nothing about a layout: it may be meant for another."""
    of_classes = ("first_class",) if layout in NUMBERED else ("head", BACKGROUND)
    fitting = {"layout", "box_order", "box_unit", LONGEST_SIDE, MIN_SCORE, *of_classes}
    if layout == "yolo-objectness" and given.get("head") in ("softmax", "logits"):
        raise LoadError(f"{layout!r} has the 'detection.head' sigmoid or sigmoid-logits")
    for key in given:
        if key not in fitting and key not in LAYOUTS[layout]:
            told = "" if "layout" in given else f", which it is without {PREFIX + 'layout'!r}"
            raise LoadError(f"parameters {PREFIX + key!r} says nothing about {layout!r}{told}")


def _check_labels(layout: str, parts: Mapping[str, str], proto: pb.ModelConfig) -> None:
    """Rows may lie along either side of a matrix: the number of labels tells it."""
    output = _labelled(parts)
    files = {entry.name: entry.label_filename for entry in proto.output}
    if layout.startswith("yolo") and not files.get(output):
        raise LoadError(
            f"parameters 'detection.layout' is {layout!r}, and the labels say how many classes "
            f"there are; expected a label_filename for output {output!r}"
        )


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False
