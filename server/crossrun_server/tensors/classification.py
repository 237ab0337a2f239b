"""The strings of Triton's classification extension: "score:index" or "score:index:label".

Knows arrays and labels, not messages. The string of a class without a label ends with its index.
Source: docs/protocol/extension_classification.md of triton-inference-server/server.
"""

import math
from collections.abc import Sequence

import numpy as np

from crossrun_server.errors import InvalidRequest
from crossrun_server.tensors.tensor_spec import Array

MAX_CLASSES = 1_000_000  # Triton's limit; sorting more would keep other requests waiting
DATATYPES = frozenset(
    ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64")
)


def classify(
    scores: Array, datatype: str, count: int, batched: bool, labels: Sequence[str] = ()
) -> Array:
    """Name the classes with the highest scores, best first; equal ones by their index.

    Args:
        scores: [batch, …], or […] if `batched` is false.
        datatype: of the scores, as the protocol names it.
        count: how many classes at most, 1 or more.
        batched: whether the first dimension is a batch.
        labels: names of the classes by index.

    Returns:
        str [batch, k] or [k], where k is the lesser of `count` and the number of classes.

    Raises:
        InvalidRequest: Triton has no strings for this datatype, or there are too many classes.
    """
    if datatype not in DATATYPES:
        raise InvalidRequest(
            f"class result not available for output due to unsupported type {datatype!r}"
        )
    batched = batched and scores.ndim > 0
    samples = scores if batched else scores[np.newaxis]
    rows = samples.reshape(len(samples), math.prod(samples.shape[1:]))
    if rows.shape[1] > MAX_CLASSES:
        raise InvalidRequest(
            f"classification output tensor too large: {rows.shape[1]} classes, "
            f"expected at most {MAX_CLASSES}"
        )
    found = [[_text(row, i, labels) for i in _best(row, count)] for row in rows]
    strings = np.array(found, np.object_).reshape(len(rows), min(count, rows.shape[1]))
    return strings if batched else strings[0]


def _best(row: Array, count: int) -> list[int]:
    falling = -row if row.dtype.kind == "f" else ~row  # ~ reverses integers without overflow
    return [int(index) for index in np.argsort(falling, kind="stable")[:count]]


def _text(row: Array, index: int, labels: Sequence[str]) -> str:
    score = f"{row[index]:f}" if row.dtype.kind == "f" else str(row[index])
    label = labels[index] if index < len(labels) else ""
    return f"{score}:{index}:{label}" if label else f"{score}:{index}"
