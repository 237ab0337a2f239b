"""What can be said of a detector's outputs. Light: the command line reads it first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

LayoutName = Literal["tensorflow", "apart", "rows", "yolo", "yolo-objectness", "detr", "ssd"]
BoxOrder = Literal["yxyx", "xyxy", "cxcywh"]
BoxUnit = Literal["normalised", "pixels"]
Background = Literal["first", "last", "none"]
# What the scores of each class are: probabilities that sum to 1, one for each class, or what a
# softmax, or a sigmoid, makes these of.
DetectionHead = Literal["softmax", "sigmoid", "logits", "sigmoid-logits"]

LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)
PARTS: Mapping[str, tuple[str, ...]] = {  # which outputs each has; `count` may be missing
    "tensorflow": ("boxes", "scores", "classes", "count"),
    "apart": ("boxes", "scores", "classes", "count"),
    "rows": ("rows",),
    "yolo": ("rows",),
    "yolo-objectness": ("rows",),
    "detr": ("boxes", "scores"),
    "ssd": ("boxes", "scores"),
}
# A detection has the number of its class; in all other layouts a box has a score for each class.
NUMBERED = ("tensorflow", "apart", "rows")
# Several boxes may show one object: the best has to be chosen.
OVERLAPPING = ("yolo", "yolo-objectness", "ssd")

TABLE = (
    "tensorflow: detection_boxes [n, 4], detection_scores and detection_classes [n]; "
    "apart: boxes [n, 4], scores [n], classes [n], of any names; "
    "rows: [n, 6] of x1 y1 x2 y2 score class; "
    "yolo: [4 + classes, n] or [n, 4 + classes]; "
    "yolo-objectness: [5 + classes, n] or [n, 5 + classes]; "
    "detr or ssd: boxes [n, 4], scores [n, classes] or [n, classes + 1]"
)


@dataclass(frozen=True)
class Said:
    """What options say of a detector's outputs; None: to be found out."""

    layout: LayoutName | None = None  # --layout
    outputs: Mapping[str, str] = field(default_factory=dict)  # part → output: --part boxes=NAME
    box_order: BoxOrder | None = None  # --box-order
    box_unit: BoxUnit | None = None  # --box-unit
    first_class: int | None = None  # --first-class: the number of the first label
    # The number of each label, if there are gaps between them, as in COCO's 1 … 90.
    numbers: tuple[int, ...] | None = None
    background: Background | None = None  # --background: the class that is none
    head: DetectionHead | None = None  # --head
