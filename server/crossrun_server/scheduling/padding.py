"""Pads batches to a few sizes, so that no request pays for a shape that was never run.

A graphics card's provider prepares for each new shape: cuDNN chooses algorithms, TensorRT may build
an engine. Knows runs as plain functions, and nothing of providers.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from crossrun_server.errors import LoadError
from crossrun_server.scheduling.batching import Run, Tensors, check_rows
from crossrun_server.tensors.tensor_spec import Array

NONE = "none"


def sizes(given: str | None, most: int, new_shapes_cost: bool) -> tuple[int, ...]:
    """Return the sizes that batches are padded to, ascending; empty for any size.

    Args:
        given: such as "1,2,4,8", or "none"; None if the configuration says nothing.
        most: the model's max_batch_size; 0 if its first dimension is not a batch.
        new_shapes_cost: whether to pad to powers of two if nothing is given.

    Raises:
        LoadError: they are not sizes, or the last is not max_batch_size.
    """
    if given is None:
        return _powers_of_two(most) if new_shapes_cost else ()
    if given.strip() == NONE:
        return ()
    numbers = _numbers(given)
    if not numbers or numbers[-1] != most:
        raise LoadError(
            f"parameters 'batch_sizes' is {given!r} and max_batch_size {most}, expected none, or "
            "whole numbers such as 1,2,4,8, the largest of which is max_batch_size"
        )
    return numbers


def around(run: Run, sizes: Sequence[int]) -> Run:
    """Wrap a run so that its batches have these sizes only; callers get their own rows back.

    The last row is repeated. A model accepts it, though it may not accept zeros. And if a model
    scales by a batch's smallest and largest number, these do not change.
    """
    if not sizes:
        return run

    def padded(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        rows = next((len(array) for array in inputs.values()), 1)
        size = sizes[bisect_left(sizes, rows)]
        if size == rows:
            return run(inputs, outputs)
        answer = run({name: _filled(array, size) for name, array in inputs.items()}, outputs)
        check_rows(answer, size)
        return {name: array[:rows] for name, array in answer.items()}

    return padded


def _powers_of_two(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4 and so on below `most`, and `most`."""
    return (*(1 << n for n in range((most - 1).bit_length())), most) if most else ()


def _numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers from 1, ascending; empty if a word is not one."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 10 and int(word) for word in words):
        return ()
    return tuple(sorted({int(word) for word in words}))


def _filled(array: Array, size: int) -> Array:
    missing = np.broadcast_to(array[-1:], (size - len(array), *array.shape[1:]))
    return np.concatenate([array, missing])
