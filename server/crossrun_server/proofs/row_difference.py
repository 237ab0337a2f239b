"""How much two answers of a model to one row differ."""

import math

import numpy as np

from crossrun_server.tensors.tensor_spec import DTYPES, Array

# An output whose last dimension has at most so many numbers is a table: each of its columns has a
# meaning, and a scale, of its own.
MOST_COLUMNS = 16


def is_float(datatype: str) -> bool:
    """Whether values of a datatype are compared by how far apart they are."""
    return datatype == "BF16" or DTYPES[datatype].kind == "f"


def numbers(array: Array, datatype: str) -> Array:
    """Return the values of an output: floats as FP64, all others unchanged."""
    if datatype == "BF16":
        bits = np.left_shift(array, 16, dtype=np.uint32)
        return bits.view(np.float32).astype(np.float64)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def is_telling(array: Array) -> bool:
    """Whether an answer has values that are neither zero nor NaN nor infinite."""
    if array.dtype.kind == "f":
        array = array[np.isfinite(array)]
    return bool(array.astype(bool).any())


def largest(array: Array) -> float:
    """Return the largest magnitude of floats; 0 for other types."""
    return float(np.max(_magnitudes(array), initial=0))


def apart(one: Array, other: Array, scale: float) -> float:
    """Return how far apart two answers are, at the place where they differ most.

    Args:
        one: an answer to one row, floats in FP64.
        other: another.
        scale: is added to the largest magnitude in both, by which differences are divided.

    Returns:
        0 for equal answers; 1 if they differ and are not floats; infinity if shapes differ.
    """
    return float(np.max(_differences(one, other, scale), initial=0))


def changed(one: Array, other: Array, scale: float) -> Array:
    """Return the sum of the differences, by column; each counts for 1 at most."""
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
    """Return the axes along which values share a scale: all, except for the columns of a table."""
    table = array.ndim > 1 and array.shape[-1] <= MOST_COLUMNS
    return tuple(range(array.ndim - 1 if table else array.ndim))
