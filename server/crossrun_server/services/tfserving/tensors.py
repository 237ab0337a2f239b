"""TensorFlow's TensorProto as arrays, and back, as TensorFlow Serving reads and writes it.

The elements are in `tensor_content`, or in the list of their type, whose last value stands for all
that follow. Source: https://github.com/tensorflow/tensorflow (core/framework/tensor.proto).
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from crossrun.tfserving import tensorflow_pb2 as tf
from crossrun_server.errors import InvalidRequest
from crossrun_server.services.messages import MOST_DIMS, PIECE, numbers
from crossrun_server.services.wire import MOST_NUMBERS
from crossrun_server.tensors.encoding import as_strings, from_bytes
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec


class Form(NamedTuple):
    """How TensorFlow names a datatype, and the list that has such elements."""

    dtype: tf.DataType
    field: str


FORMS = {
    "BOOL": Form(tf.DT_BOOL, "bool_val"),
    "UINT8": Form(tf.DT_UINT8, "int_val"),
    "UINT16": Form(tf.DT_UINT16, "int_val"),
    "UINT32": Form(tf.DT_UINT32, "uint32_val"),
    "UINT64": Form(tf.DT_UINT64, "uint64_val"),
    "INT8": Form(tf.DT_INT8, "int_val"),
    "INT16": Form(tf.DT_INT16, "int_val"),
    "INT32": Form(tf.DT_INT32, "int_val"),
    "INT64": Form(tf.DT_INT64, "int64_val"),
    "FP16": Form(tf.DT_HALF, "half_val"),
    "FP32": Form(tf.DT_FLOAT, "float_val"),
    "FP64": Form(tf.DT_DOUBLE, "double_val"),
    "BF16": Form(tf.DT_BFLOAT16, "half_val"),
    "BYTES": Form(tf.DT_STRING, "string_val"),
}
CONTENT = "tensor_content"
HALVES = ("FP16", "BF16")  # whose list has their bits
NAMES: Mapping[int, str] = {number: name for name, number in tf.DataType.items()}


def sizes(tensor: tf.TensorProto) -> tuple[int, ...]:
    """Return what a tensor says of its shape."""
    return tuple(dim.size for dim in tensor.tensor_shape.dim)


def read(tensor: tf.TensorProto, spec: TensorSpec) -> Array:
    """Decode an input.

    Raises:
        InvalidRequest: it is malformed, or not what the model takes.
    """
    form, shape = FORMS[spec.datatype], sizes(tensor)
    if tensor.dtype != form.dtype:
        got = NAMES.get(tensor.dtype, f"the type {tensor.dtype}")
        raise InvalidRequest(f"input {spec.name!r} has {got}, expected {NAMES[form.dtype]}")
    if tensor.tensor_shape.unknown_rank:
        raise InvalidRequest(f"input {spec.name!r} has no shape, expected {list(spec.shape)}")
    if len(shape) > MOST_DIMS or not spec.accepts(shape) or min(shape, default=0) < 0:
        got = str(list(shape[:MOST_DIMS]))
        raise InvalidRequest(f"input {spec.name!r} has shape {got}, expected {list(spec.shape)}")
    try:
        return _elements(tensor, spec.datatype, shape)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"input {spec.name!r}: {error}") from None


def write(array: Array, datatype: str) -> tf.TensorProto:
    """Encode an output: its elements are in the list of their type, where clients look for them."""
    form = FORMS[datatype]
    tensor = tf.TensorProto(dtype=form.dtype)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    flat, values = array.reshape(-1), getattr(tensor, form.field)
    if datatype == "BYTES":
        values.extend(string.encode() for string in flat)
        return tensor
    flat = flat.view(np.uint16) if datatype in HALVES else flat
    for at in range(0, len(flat), PIECE):
        values.extend(flat[at : at + PIECE].tolist())
    return tensor


def _elements(tensor: tf.TensorProto, datatype: str, shape: tuple[int, ...]) -> Array:
    name, field = NAMES[tensor.dtype], FORMS[datatype].field
    found = [each.name for each, _ in tensor.ListFields() if each.name in _FIELDS]
    if len(found) > 1:
        raise ValueError(f"its elements are given twice, in {found[0]} and in {found[1]}")
    if found == [CONTENT] and datatype != "BYTES":
        return from_bytes(tensor.tensor_content, datatype, shape)
    if found and found != [field]:
        raise ValueError(f"{name} comes in {field}, got {found[0]}")
    return _listed(tensor, datatype, shape)


def _listed(tensor: tf.TensorProto, datatype: str, shape: tuple[int, ...]) -> Array:
    values, count = getattr(tensor, FORMS[datatype].field), math.prod(shape)
    if len(values) > count or (count and not values):
        raise ValueError(f"{list(shape)} needs {count} values, got {len(values)}")
    if len(values) < count > MOST_NUMBERS:
        raise ValueError(
            f"{list(shape)} needs {count} values, got {len(values)}: a last value that is repeated "
            f"fills {MOST_NUMBERS} at most"
        )
    if datatype == "BYTES":
        return _filled(as_strings(values), count).reshape(shape)
    if datatype in HALVES:
        bits = numbers(values, np.dtype(np.uint16))
        return _filled(bits, count).view(DTYPES[datatype]).reshape(shape)
    return _filled(numbers(values, DTYPES[datatype]), count).reshape(shape)


def _filled(values: Array, count: int) -> Array:
    """Repeat the last value until there are so many."""
    missing = count - len(values)
    return np.concatenate([values, np.repeat(values[-1:], missing)]) if missing else values


_FIELDS = frozenset({CONTENT, *(form.field for form in FORMS.values())})
