"""By how much two answers of a model to one row differ."""

import math

import numpy as np

from crossrun_server.tensors.tensor_spec import DTYPES, Array

# Numbers in a row of a table, at most: each column has a meaning, and a scale, of its own.
RECORD = 16


def is_float(datatype: str) -> bool:
    """Whether a datatype's values are compared by how far they are apart."""
    return datatype == "BF16" or DTYPES[datatype].kind == "f"


def numbers(array: Array, datatype: str) -> Array:
    """Give the values of an output: floats as FP64, all others as they are."""
    if datatype == "BF16":
        bits = np.left_shift(array, 16, dtype=np.uint32)
        return bits.view(np.float32).astype(np.float64)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def says(array: Array) -> bool:
    """Whether there is more in an answer than zeros, and what is no number."""
    if array.dtype.kind == "f":
        array = array[np.isfinite(array)]
    return bool(array.astype(bool).any())


def largest(array: Array) -> float:
    """The largest magnitude of floats; 0 for others."""
    return float(np.max(_magnitudes(array), initial=0))


def apart(one: Array, other: Array, scale: float) -> float:
    """By how much answers differ where they do most.

    Args:
        one: an answer to one row, floats in FP64.
        other: another.
        scale: what is added to the largest magnitude in them, of which floats are a share.

    Returns:
        0 for equal answers; of others than floats 1; infinity for other shapes.
    """
    return float(np.max(_differences(one, other, scale), initial=0))


def changed(one: Array, other: Array, scale: float) -> Array:
    """By how much they differ in all, by column; no number counts for more than 1."""
    if one.shape != other.shape:
        return np.array(math.inf)
    differences = np.minimum(_differences(one, other, scale), 1)
    return np.asarray(differences.sum(axis=_axes(one)))


def _differences(one: Array, other: Array, scale: float) -> Array:
    if one.shape != other.shape:
        return np.array(math.inf)
    if one.dtype.kind != "f":
        return np.asarray(one != other, np.float64)
    axes = _axes(one)
    most = np.maximum(_magnitudes(one), _magnitudes(other)).max(axis=axes, initial=0)
    share = np.abs(one - other) / (most + scale)
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(equal, 0, np.where(np.isnan(share), math.inf, share))


def _magnitudes(array: Array) -> Array:
    if array.dtype.kind != "f":
        return np.zeros(0)
    return np.where(np.isfinite(array), np.abs(array), 0)


def _axes(array: Array) -> tuple[int, ...]:
    """Along which values have one scale: all, but for the columns of a table."""
    table = array.ndim > 1 and array.shape[-1] <= RECORD
    return tuple(range(array.ndim - 1 if table else array.ndim))
