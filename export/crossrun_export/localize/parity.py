"""Does a localizer say what Keras's features say? Computed again: Keras, numpy and OpenCV."""

from collections.abc import Mapping

import cv2
import numpy as np

from crossrun_export.errors import ExportError
from crossrun_export.graph import Array
from crossrun_export.localize.graph import HEAT
from crossrun_export.localize.network import ZOOM, Floats, Localizer, Look
from crossrun_export.runtime import BATCH

PLAIN = 10  # times the largest difference: scores that far apart stay in their order
HEAT_DIFFERENCE = 1e-3  # of a map's range; float32 sums in another order come to a tenth of it


def check(parts: Localizer, inputs: Floats, found: Mapping[str, Array]) -> float:
    """Hold a localizer's outputs against the original.

    Args:
        parts: the Keras model, taken apart.
        inputs: what it takes, [count, H, W, 3].
        found: the outputs for them by name.

    Returns:
        The largest difference of any heat map.

    Raises:
        ExportError: classes, heat maps or boxes are others.
    """
    classes, heat = found["detection_classes"], found["heat_maps"]
    _check_classes(found, parts.asked.top_k)
    difference = float(np.abs(heat - heat_maps(parts, inputs, classes, heat.shape[-1])).max())
    if not difference <= HEAT_DIFFERENCE:  # so that NaN fails too
        raise ExportError(
            f"the heat maps differ by up to {difference:.2g} from Keras's, "
            f"allowed is {HEAT_DIFFERENCE:.2g}"
        )
    expected = [[box(one, parts.asked.threshold) for one in maps] for maps in heat]
    if not np.allclose(found["detection_boxes"], expected, rtol=0, atol=1e-6):
        raise ExportError("the boxes are not those of the largest regions of the heat maps")
    return difference


def answers(
    parts: Localizer, inputs: Floats, probabilities: Floats, tie: float
) -> dict[str, tuple[Array, float]]:
    """What a localizer should say beside its probabilities, with how far each may be off.

    A class whose score is near another's may change places with it: its heat map is NaN. Boxes
    are left out, for a cell on the threshold moves their sides.

    Args:
        parts: the Keras model, taken apart.
        inputs: what it takes, [count, H, W, 3].
        probabilities: what it says of them, [count, classes].
        tie: the largest difference of a score.
    """
    k = parts.asked.top_k
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, : k + 1]
    scores = np.take_along_axis(probabilities, classes, axis=1)
    maps = heat_maps(parts, inputs, classes[:, :k], HEAT)
    close = scores[:, :-1] - scores[:, 1:] <= PLAIN * tie
    unsure = np.zeros((len(scores), k), np.bool_)
    unsure[:, : close.shape[1]] |= close[:, :k]
    unsure[:, 1:] |= close[:, : k - 1]
    maps[unsure] = np.nan
    return {"detection_scores": (scores[:, :k], tie), "heat_maps": (maps, HEAT_DIFFERENCE)}


def heat_maps(parts: Localizer, inputs: Floats, classes: Array, size: int) -> Floats:
    """Class-activation maps of some classes [count, k] of each picture: [count, k, size, size]."""
    maps: Floats = np.zeros((*classes.shape, size, size), np.float32)
    for look in parts.looks:
        pictures = enlarged(inputs) if look is parts.zoomed else inputs
        cells = np.einsum("nhwc,nkc->nkhw", features(look, pictures), parts.weights[classes])
        maps += spread(cells, look, size)
    maps -= maps.min(axis=(2, 3), keepdims=True)
    highest = np.maximum(maps.max(axis=(2, 3), keepdims=True), np.finfo(np.float32).tiny)
    maps /= highest
    return maps


def box(heat: Floats, threshold: float) -> tuple[float, float, float, float]:
    """Where a map's largest region lies, ymin xmin ymax xmax, 0 to 1; all of it if there is none.

    Cells that touch at a corner are connected. Of regions of one size, that which ends first.
    """
    hot = (heat >= np.float32(threshold)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hot, connectivity=8)
    if count == 1:
        return 0.0, 0.0, 1.0, 1.0
    ends = [int(np.flatnonzero(labels == label)[-1]) for label in range(count)]
    largest = max(range(1, count), key=lambda k: (stats[k, cv2.CC_STAT_AREA], -ends[k]))
    left, top, width, height, _ = stats[largest] / len(heat)
    return float(top), float(left), float(top + height), float(left + width)


def _check_classes(found: Mapping[str, Array], k: int) -> None:
    probabilities, scores = found["probabilities"], found["detection_scores"]
    theirs = np.take_along_axis(probabilities, found["detection_classes"], axis=1)
    best = -np.sort(-probabilities, axis=1)[:, :k]
    if not (np.array_equal(scores, theirs) and np.array_equal(scores, best)):
        raise ExportError("the classes that get boxes are not those with the best scores")
    if (found["num_detections"] != k).any():
        raise ExportError(f"num_detections is not {k}")


def features(look: Look, pictures: Floats) -> Floats:
    """What Keras makes of pictures as the look's network takes them: [count, h, w, channels]."""
    parts = (pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH))
    return np.concatenate([look.network(part, training=False) for part in parts])


def enlarged(inputs: Floats) -> Floats:
    """Pictures ZOOM times as large."""
    return np.stack([cv2.resize(one, None, fx=ZOOM, fy=ZOOM) for one in inputs])


def spread(cells: Floats, look: Look, size: int) -> Floats:
    """Interpolate between the middles of cells: [count, k, h, w] to [count, k, size, size]."""
    wanted = (np.arange(size) + 0.5) / size

    def along(axis: int, middles: Floats, values: Array) -> Array:
        return np.apply_along_axis(lambda line: np.interp(wanted, middles, line), axis, values)

    return along(3, look.columns, along(2, look.rows, cells)).astype(np.float32)
