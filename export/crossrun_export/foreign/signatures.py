"""Which signature of a SavedModel takes a picture. Knows TensorFlow's functions, and no files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from crossrun_export.backend import tensorflow as tf
from crossrun_export.errors import ExportError
from crossrun_export.foreign.source import Output, Picture
from crossrun_export.runtime import Inputs, Outputs

DEFAULT = "serving_default"  # what TensorFlow's own servers run if none is named
TAKEN = ("uint8", "float16", "float32")
FREE = (96, 128)  # height and width of a made-up picture, where they are free

Signatures = Mapping[str, Any]  # TensorFlow's functions, by name


def chosen(signatures: Signatures, asked: str | None) -> str:
    """The name of the signature to export: the one that is asked for, or that takes a picture.

    Raises:
        ExportError: there is none, or there are several and they answer differently.
    """
    if not signatures:
        raise ExportError("it has no signature; save it with tf.saved_model.save(…, signatures=…)")
    if asked is not None and asked not in signatures:
        raise ExportError(f"it has no signature {asked!r}; it has {', '.join(signatures)}")
    wanted = [asked] if asked else list(signatures)
    fitting = [name for name in wanted if picture(signatures[name])]
    if not fitting:
        told = "; ".join(_told(name, signatures[name]) for name in wanted)
        raise ExportError(
            f"no signature takes a picture alone, {', '.join(TAKEN)} [batch, height, width, 3] or "
            f"[batch, 3, height, width]: {told}"
        )
    if not _are_alike([signatures[name] for name in fitting]):
        raise ExportError(
            f"several signatures take a picture and answer differently: {', '.join(fitting)}; "
            "name one by --signature"
        )
    return DEFAULT if DEFAULT in fitting else fitting[0]


def picture(function: Any) -> Picture | None:
    """The one input of a signature, if that is a picture."""
    inputs = function.structured_input_signature[1]
    if len(inputs) != 1:
        return None
    ((name, spec),) = inputs.items()
    if spec.shape.rank != 4 or spec.dtype.name not in TAKEN:
        return None
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    batch, *sides = (-1 if side is None else int(side) for side in spec.shape)
    if sides[2] == 3:
        return Picture(name, dtype, "NHWC", batch, (sides[0], sides[1]))
    return Picture(name, dtype, "NCHW", batch, (sides[1], sides[2])) if sides[0] == 3 else None


def outputs(function: Any) -> tuple[Output, ...]:
    """All that a signature returns."""
    return tuple(_output(name, spec) for name, spec in function.structured_outputs.items())


def answer(function: Any, inputs: Inputs) -> Outputs:
    """Run a signature of one input, as it is written."""
    ((name, spec),) = function.structured_input_signature[1].items()
    with _as_written():
        found = function(**{name: tf.constant(inputs, spec.dtype)})
    return {key: value.numpy() for key, value in found.items()}


@contextmanager
def _as_written() -> Iterator[None]:
    """Run functions without fused operations of TensorFlow's own.

    With oneDNN it makes one of a hard swish, whose 1/6 is exact. A model that was stored in half
    precision has 0.16663 there, and its scores differed by a thousandth.
    """
    before = tf.config.optimizer.get_experimental_options().get("remapping", True)
    tf.config.optimizer.set_experimental_options({"remapping": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"remapping": before})


def _output(name: str, spec: Any) -> Output:
    shape = () if spec.shape.rank is None else spec.shape
    sides = tuple(-1 if side is None else int(side) for side in shape)
    return Output(name, np.dtype(spec.dtype.as_numpy_dtype), sides)


def _told(name: str, function: Any) -> str:
    inputs = function.structured_input_signature[1].items()
    specs = [f"{key!r} {spec.dtype.name} {spec.shape}" for key, spec in inputs]
    return f"{name!r} takes {', '.join(specs) or 'nothing'}"


def _are_alike(functions: Sequence[Any]) -> bool:
    """Whether signatures are one function under several names, as Keras exports it."""
    if len({picture(function) for function in functions}) > 1:
        return len(functions) == 1
    first, *others = (_of_noise(function) for function in functions) if functions[1:] else [{}]
    return all(_is_same(first, other) for other in others)


def _of_noise(function: Any) -> Outputs:
    taken = picture(function)
    assert taken is not None
    sides = [side if side > 0 else free for side, free in zip(taken.size, FREE, strict=True)]
    shape = (abs(taken.batch), *((3, *sides) if taken.axes == "NCHW" else (*sides, 3)))
    noise = np.random.default_rng(1).integers(0, 256, shape)
    return answer(function, noise.astype(taken.dtype))


def _is_same(one: Outputs, other: Outputs) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=True) for name in one
    )
