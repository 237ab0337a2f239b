"""Random requests to try a model with before it serves; they are the same at each load.

Knows types and shapes. Knows no model and no onnxruntime.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

FREE = 1  # the default for free sizes


@dataclass(frozen=True)
class Range:
    """The least and the largest value of an input."""

    low: float = 0.0
    high: float = 1.0


MAGNITUDES = -3.0, 4.0  # powers of ten, from thousandths to ten thousands


def random(
    specs: Sequence[TensorSpec],
    rows: int,
    ranges: Mapping[str, Range] | None = None,
    free: int = FREE,
    seed: int = 0,
) -> dict[str, Array]:
    """Draw a request whose rows differ from each other.

    Args:
        specs: the inputs; the first size is the batch's if it is free.
        rows: how many.
        ranges: of float inputs, by name; 0 to 1 for the others.
        free: replaces other free sizes.
        seed: chooses the request.

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


def contrasting(
    specs: Sequence[TensorSpec],
    ranges: Mapping[str, Range | None],
    free: int = FREE,
    seed: int = 0,
) -> list[dict[str, Array]]:
    """Draw three requests of one row that have little in common.

    The first has values that are nearly equal, the second has values of the whole range, the third
    has only the two ends of the range. If a model scales, sorts or adds up rows together, each of
    them changes the others' answers.

    Args:
        specs: the inputs; the first size is the batch's.
        ranges: by name. None: floats of any magnitude, integers from the whole range of their type.
        free: replaces free sizes.
        seed: chooses the rows.
    """
    draw = np.random.default_rng(seed)
    drawn = {s.name: _contrasting(draw, s, ranges.get(s.name), _shape(s, 1, free)) for s in specs}
    return [{name: rows[i] for name, rows in drawn.items()} for i in range(3)]


def draw_tensor(
    draw: np.random.Generator, datatype: str, shape: tuple[int, ...], within: Range
) -> Array:
    """Draw one tensor of a datatype of the protocol."""
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return draw.integers(0, 100, shape).astype(str).astype(np.object_)
    if _is_float(datatype):
        return _floats(draw.uniform(within.low, within.high, shape), datatype)
    if dtype.kind == "b":
        return draw.integers(0, 2, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return draw.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _shape(spec: TensorSpec, rows: int, free: int) -> tuple[int, ...]:
    first = spec.shape[:1]
    batch = (rows,) if first == (-1,) else first
    return batch + tuple(free if size == -1 else size for size in spec.shape[1:])


def _contrasting(
    draw: np.random.Generator, spec: TensorSpec, within: Range | None, shape: tuple[int, ...]
) -> list[Array]:
    datatype = spec.datatype
    if datatype in ("BYTES", "BOOL"):
        return [draw_tensor(draw, datatype, shape, Range()) for _ in range(3)]
    if not _is_float(datatype):
        return _whole_numbers(draw, DTYPES[datatype], within, shape)
    if within is None:
        sizes = (10 ** draw.uniform(*MAGNITUDES, shape) for _ in range(3))
        return [_floats(size * draw.choice((-1, 1), shape), datatype) for size in sizes]
    width = (within.high - within.low) / 100
    least = draw.uniform(within.low, within.high - width)
    return [
        draw_tensor(draw, datatype, shape, Range(least, least + width)),
        draw_tensor(draw, datatype, shape, within),
        _floats(draw.choice((within.low, within.high), shape), datatype),
    ]


def _whole_numbers(
    draw: np.random.Generator,
    dtype: "np.dtype[Any]",
    within: Range | None,
    shape: tuple[int, ...],
) -> list[Array]:
    limits = np.iinfo(dtype)
    low, high = (limits.min, limits.max) if within is None else (int(within.low), int(within.high))
    low = max(low, limits.min)
    width = max(1, (high - low) // 100)
    ends = np.array((low, high), dtype)
    return [
        draw.integers(low, low + width, shape, dtype, endpoint=True),
        draw.integers(low, high, shape, dtype, endpoint=True),
        ends[draw.integers(0, 2, shape)],
    ]


def _is_float(datatype: str) -> bool:
    return datatype == "BF16" or DTYPES[datatype].kind == "f"


def _floats(values: Array, datatype: str) -> Array:
    if datatype != "BF16":
        return values.astype(DTYPES[datatype])
    # The bits of BF16 are the upper half of a float32's.
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(DTYPES[datatype])
