"""Mean average precision, as COCO defines it: pycocotools', the reference.

Computed on reading. Knows nothing of how it is shown.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from crossrun_bench.measurements.detection.result import Detection, Truth

Truths = tuple[tuple[Truth, ...], ...]  # of each picture
Found = tuple[tuple[Detection, ...], ...]

MOST = 100  # detections of a picture that count, the surest


@dataclass(frozen=True)
class Precision:
    """Shares of 1, each the mean over the classes that there are objects of."""

    mean: float  # over the IoU thresholds 0.5, 0.55, … 0.95
    at_half: float  # at an IoU of 0.5
    by_class: dict[int, float]  # over the same thresholds


@lru_cache(maxsize=16)  # a report asks several times
def average_precision(truths: Truths, found: Found) -> Precision:
    """Compare what was found with what the pictures show, which is more than crowds."""
    classes = sorted({t.number for picture in truths for t in picture if not t.crowd})
    values = _precisions(truths, found, classes)
    of_each = values.mean(axis=(0, 1)).tolist()
    return Precision(
        float(values.mean()), float(values[0].mean()), dict(zip(classes, of_each, strict=True))
    )


def evaluated(truths: Truths, found: Found, classes: Sequence[int]) -> COCOeval:
    """pycocotools' evaluation of some classes, at its ten IoU thresholds; the first is 0.5."""
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of every step
        known, results = (_coco(pictures, classes) for pictures in (truths, found))
        evaluation = COCOeval(known, results, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
    return evaluation


def _precisions(truths: Truths, found: Found, classes: Sequence[int]) -> NDArray[np.float64]:
    """Precision by IoU threshold, recall and class, [10, 101, classes]."""
    evaluation = evaluated(truths, found, classes)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    values: NDArray[np.float64] = evaluation.eval["precision"][..., 0, 0]
    return values


def _coco(pictures: Sequence[Sequence[Truth | Detection]], classes: Sequence[int]) -> COCO:
    """A data set of objects, as pycocotools holds it; the same form serves for what was found."""
    objects = [(i, one) for i, picture in enumerate(pictures) for one in picture]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(len(pictures))],
        "categories": [{"id": number} for number in classes],
        # To pycocotools, 0 is the annotation that nothing matches.
        "annotations": [_annotation(n, i, one) for n, (i, one) in enumerate(objects, 1)],
    }
    coco.createIndex()
    return coco


def _annotation(number: int, picture: int, one: Truth | Detection) -> dict[str, Any]:
    ymin, xmin, ymax, xmax = one.box
    width, height = xmax - xmin, ymax - ymin
    return {
        "id": number,
        "image_id": picture,
        "category_id": one.number,
        "bbox": [xmin, ymin, width, height],
        "area": width * height,
        "iscrowd": int(isinstance(one, Truth) and one.crowd),
        "score": one.score if isinstance(one, Detection) else None,
    }
