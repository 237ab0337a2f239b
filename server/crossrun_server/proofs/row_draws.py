"""Rows to try a model with: given requests, then random rows of several sizes and ranges."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from crossrun_server.proofs import random_inputs
from crossrun_server.proofs.random_inputs import Range
from crossrun_server.scheduling.batching import Tensors
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

Draw = Callable[[], Sequence[Tensors]]  # three requests of one row

FREE = (32, 224, 3, 1)  # tried for free sizes, until the model accepts them
MOST_ELEMENTS = 1 << 24  # of one row with such sizes
# Ranges of the floats and the integers in a row; None is any magnitude. Integers are small, because
# few models accept indices or lengths of any size; but those of 8 or 16 bits may have any value.
FEW, BITS = Range(0, 9), Range(0, 1)
RANGES: tuple[tuple[Range | None, Range], ...] = (
    (Range(-1, 1), Range(-99, 99)),
    (Range(0, 1), Range(0, 99)),
    (Range(0, 255), FEW),
    (None, BITS),
    (Range(-1, 1), FEW),
    (Range(0, 1), BITS),
)
# The least number of draws, and of the elements of a row in all draws together: a few elements may
# be equal by chance.
DRAWS, ELEMENTS = 2, 16


def given(specs: Sequence[TensorSpec], requests: Sequence[Tensors]) -> Iterator[Draw]:
    """Take rows from requests with these inputs, if at least two have the same shapes."""
    names = {spec.name for spec in specs}
    like = [row for row in requests if row.keys() == names and _alike(row, requests[0])]
    if len(like) > 1:
        yield lambda: [like[i % len(like)] for i in range(3)]


def made_up(
    specs: Sequence[TensorSpec], known: Mapping[str, Range], requests: Sequence[Tensors]
) -> Iterator[list[Draw]]:
    """Yield ways to make up rows; each is tried until the model accepts one.

    Args:
        specs: the inputs.
        known: the ranges of some of them.
        requests: that the model accepts; free sizes are those of the first.
    """
    sized = _sized(specs, requests)
    free = _free(sized)
    narrow = any(_is_whole(spec) and _is_narrow(spec) for spec in specs)
    for whole in (True, False) if narrow else (True,):
        for size in free:
            yield _draws(sized, known, size, whole)


def jittered(row: Tensors, share: float, seed: int) -> Tensors:
    """Change floats by a share of their range, and bytes by 1 at most; all else stays the same."""
    draw = np.random.default_rng(seed)

    def moved(array: Array) -> Array:
        if array.dtype.kind == "f":
            low, high = array.min(initial=0), array.max(initial=0)
            by = share * (high - low) * draw.uniform(-1, 1, array.shape)
            return np.asarray(np.clip(array + by, low, high), array.dtype)
        if array.dtype.kind in "iu" and array.dtype.itemsize == 1:
            limits = np.iinfo(array.dtype)
            by = draw.integers(-1, 2, array.shape)
            return np.asarray(np.clip(array + by, limits.min, limits.max), array.dtype)
        return array

    return {name: moved(array) for name, array in row.items()}


def _alike(one: Tensors, other: Tensors) -> bool:
    return all(name in other and one[name].shape == other[name].shape for name in one)


def _sized(specs: Sequence[TensorSpec], requests: Sequence[Tensors]) -> list[TensorSpec]:
    shapes = {name: array.shape for row in requests[:1] for name, array in row.items()}
    return [
        replace(spec, shape=(-1, *shapes[spec.name][1:])) if spec.name in shapes else spec
        for spec in specs
    ]


def _free(specs: Sequence[TensorSpec]) -> Sequence[int]:
    """Return the sizes to try for free ones; any one if no size is free."""
    if all(-1 not in spec.shape[1:] for spec in specs):
        return FREE[:1]
    return [size for size in FREE if _elements(specs, size) <= MOST_ELEMENTS] or FREE[-1:]


def _draws(
    specs: Sequence[TensorSpec], known: Mapping[str, Range], free: int, whole: bool
) -> list[Draw]:
    choices: list[dict[str, Range | None]] = []
    for floats, integers in RANGES:
        ranges = {spec.name: _range(spec, floats, integers, whole) for spec in specs}
        ranges |= known
        if ranges not in choices:
            choices.append(ranges)
    elements = max(1, _elements(specs, free))
    turns = max(DRAWS, ELEMENTS // elements, len(choices))
    return [
        partial(random_inputs.contrasting, specs, choices[turn % len(choices)], free, turn)
        for turn in range(turns)
    ]


def _range(spec: TensorSpec, floats: Range | None, integers: Range, whole: bool) -> Range | None:
    if spec.datatype in ("BOOL", "BYTES"):
        return BITS
    if not _is_whole(spec):
        return floats
    return None if whole and _is_narrow(spec) else integers


def _is_whole(spec: TensorSpec) -> bool:
    return spec.datatype != "BF16" and DTYPES[spec.datatype].kind in "iu"


def _is_narrow(spec: TensorSpec) -> bool:
    return DTYPES[spec.datatype].itemsize < 4


def _elements(specs: Sequence[TensorSpec], free: int) -> int:
    return sum(math.prod(free if n == -1 else n for n in spec.shape[1:]) for spec in specs)
