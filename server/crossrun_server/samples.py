"""Requests that a model is tried with before anybody asks it: random rows, the same at each load.

Knows types and shapes; knows no model and no onnxruntime.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossrun_server.tensors import DTYPES, Array, TensorSpec

FREE = 1  # what a free size becomes, unless another is asked for


@dataclass(frozen=True)
class Range:
    """The least and the largest value of a float input."""

    low: float = 0.0
    high: float = 1.0


def random(
    specs: Sequence[TensorSpec],
    rows: int,
    ranges: Mapping[str, Range] | None = None,
    free: int = FREE,
    seed: int = 0,
) -> dict[str, Array]:
    """Draw a request whose rows differ from each other.

    Args:
        specs: the inputs; the first size is the batch's where it is free.
        rows: how many.
        ranges: of float inputs, by name; 0 to 1 where nothing is said.
        free: what other free sizes become.
        seed: other seeds, other requests.

    Returns:
        Arrays by name: floats from their range, integers from the whole range of their type,
        BYTES as numbers in decimal digits.
    """
    draw, known = np.random.default_rng(seed), ranges or {}
    return {
        spec.name: draw_tensor(
            draw, spec.datatype, _shape(spec, rows, free), known.get(spec.name, Range())
        )
        for spec in specs
    }


def draw_tensor(
    draw: np.random.Generator, datatype: str, shape: tuple[int, ...], within: Range
) -> Array:
    """Draw one tensor of a datatype of the protocol."""
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return draw.integers(0, 100, shape).astype(str).astype(np.object_)
    if datatype == "BF16":  # bits: those of a float32, cut in half
        floats = draw.uniform(within.low, within.high, shape).astype(np.float32)
        return (floats.view(np.uint32) >> 16).astype(dtype)
    if dtype.kind == "f":
        return draw.uniform(within.low, within.high, shape).astype(dtype)
    if dtype.kind == "b":
        return draw.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return draw.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _shape(spec: TensorSpec, rows: int, free: int) -> tuple[int, ...]:
    first = spec.shape[:1]
    batch = (rows,) if first == (-1,) else first
    return batch + tuple(free if size == -1 else size for size in spec.shape[1:])
