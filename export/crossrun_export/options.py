"""What can be asked of an export. Light: the command line reads it before TensorFlow is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from crossrun_export.errors import ExportError

InputDtype = Literal["uint8", "float32"]
Resize = Literal["stretch", "crop"]
AnyResize = Literal["stretch", "crop", "letterbox"]
Precision = Literal["fp32", "int8", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# What scores are: probabilities that sum to 1, one for each class, one for the second of two
# classes; or what a softmax, or a sigmoid, makes these of.
HeadKind = Literal["softmax", "sigmoid", "binary", "logits", "sigmoid-logits", "binary-logits"]
HEADS: tuple[HeadKind, ...] = get_args(HeadKind)


def precisions(text: str) -> tuple[Precision, ...]:
    """Some of PRECISIONS, named with commas between, in their order; raises ExportError."""
    wanted = dict.fromkeys(word.strip() for word in text.split(","))
    if unknown := [word for word in wanted if word not in PRECISIONS]:
        raise ExportError(f"--precision {unknown[0]!r}: expected some of {', '.join(PRECISIONS)}")
    return tuple(precision for precision in PRECISIONS if precision in wanted)


@dataclass(frozen=True)
class Loading:
    """How a saved model is loaded, and what of it."""

    output: str | None = None  # which of several outputs has the scores
    trust_lambda: bool = False  # run the code that Lambda layers are
    custom: Path | None = None  # a Python file that defines layers and functions of the model's own
    float32: bool = False  # compute in float32, whatever the layers say


@dataclass(frozen=True)
class Tolerance:
    """How far the exported model may be from the original."""

    max_diff: float | None = None  # of any one score; None: what suits the model
    min_agreement: float = 1.0  # share of pictures, for top-1 and for top-5


@dataclass(frozen=True)
class Limits:
    """What a reduced precision may cost, measured against the original on the same pictures."""

    max_top1_drop: float = 1.0  # percentage points of top-1, where pictures have labels
    min_agreement: float = 0.8  # share of pictures with the same best class
    needs_labels: bool = False  # whether the drop was asked for, so that it has to be measured


def limits(max_top1_drop: float | None, min_agreement: float | None, *, reduced: bool) -> Limits:
    """Limits of what was asked for; None leaves one as it is, and lets the drop go unmeasured.

    Raises:
        ExportError: one was asked for, and no precision is reduced.
    """
    check_limits({"max-top1-drop": max_top1_drop, "min-reduced-agreement": min_agreement}, reduced)
    return Limits(
        Limits.max_top1_drop if max_top1_drop is None else max_top1_drop,
        Limits.min_agreement if min_agreement is None else min_agreement,
        needs_labels=max_top1_drop is not None,
    )


def check_limits(asked: Mapping[str, float | None], reduced: bool) -> None:
    """Refuse limits, by option, that nothing will be held against.

    Raises:
        ExportError: one is asked for, and no precision is reduced.
    """
    for option, limit in asked.items():
        if limit is not None and not reduced:
            raise ExportError(f"--{option} is for int8 and fp16, and --precision asks for neither")


@dataclass(frozen=True)
class Localize:
    """What to add to a classifier so that it says where."""

    top_k: int = 5  # classes to say it of
    threshold: float = 0.55  # share of a map's range from which on a cell belongs to the object
    zoom: bool = True  # a second look at twice the size: better boxes, three times the work


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to put a model of any kind, and in which forms."""

    output: Path  # the model repository
    name: str
    input_dtype: InputDtype
    resize: str  # what the server does to pictures
    precisions: tuple[Precision, ...] = ("fp32",)

    @property
    def reduced(self) -> tuple[Precision, ...]:
        """The precisions that are not the original's."""
        return tuple(precision for precision in self.precisions if precision != "fp32")


@dataclass(frozen=True, kw_only=True)
class Options(Target):
    """What to make of a classifier."""

    resize: Resize
    images: Path | None  # photographs to verify on; None draws scenes
    tolerance: Tolerance
    calibration: Path | None = None  # photographs to calibrate int8 on; None draws scenes
    limits: Limits = Limits()
    localize: Localize | None = None
    skip_unknown: bool = False  # pictures of folders that are no class are passed over
    scores: HeadKind | None = None  # what the scores are; None: what is found out
