"""Tiny models whose rows are independent of each other."""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx

from tests.support import detectors, mixing, models

INDEPENDENT: dict[str, Callable[[], onnx.ModelProto]] = {
    **{
        f"identity of {datatype}": partial(models.identity, element_type, ["batch", "width"])
        for datatype, element_type in models.ELEMENT_TYPES.items()
    },
    "indices from 0 to 9": models.gather,
    "a width that is not told": models.weigh,
    "a net": models.conv,
    "pictures": models.pictured_conv,
    "a net in int8": lambda: models.int8(models.conv(), [{"x": np.ones((1, 3, 8, 8), np.float32)}]),
    "two inputs": models.sum_and_difference,
    "strings": lambda: models.sum_and_difference(onnx.TensorProto.STRING),
    "no dimension but the batch": models.determinant,
    "five dimensions": lambda: models.identity(1, ["batch", 2, 1, 3, "w"]),
    "a detector with thresholds": detectors.finder,
    "a recurrent net": mixing.recurrent,
    "words": mixing.labels,
    "a few values": lambda: mixing.renamed("batch", "batch"),
}
