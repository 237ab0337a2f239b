"""Tensors on the wire: whatever numpy holds survives the way there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from crossrun_server.tensors.encoding import as_strings, from_bytes, octets, to_bytes
from crossrun_server.tensors.tensor_spec import DTYPES, TensorSpec

NUMERIC = sorted(DTYPES.keys() - {"BYTES"})


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    datatype = draw(st.sampled_from(NUMERIC))
    shape = draw(npst.array_shapes(min_dims=0, min_side=0, max_side=4))
    return datatype, draw(npst.arrays(DTYPES[datatype], shape))


@given(tensors())
def test_numbers_survive_the_wire(tensor: tuple[str, np.ndarray]) -> None:
    """Bytes and shape give back the very array, NaN payloads and all."""
    datatype, array = tensor
    back = from_bytes(to_bytes(array), datatype, array.shape)
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(st.lists(st.text()))
def test_strings_survive_the_wire(strings: list[str]) -> None:
    """Any text, empty or with NULs in it, comes back."""
    array = as_strings([string.encode() for string in strings])
    assert from_bytes(to_bytes(array), "BYTES", array.shape).tolist() == strings


@given(st.binary(max_size=40), st.integers(0, 5))
def test_arbitrary_bytes_are_strings_or_an_error(data: bytes, count: int) -> None:
    """No bytes make the reader of strings fail in another way than with ValueError."""
    try:
        strings = from_bytes(data, "BYTES", (count,))
    except ValueError:
        return
    assert to_bytes(strings) == data


@given(st.sampled_from(NUMERIC), st.binary(max_size=40), npst.array_shapes(min_side=0, max_side=3))
def test_the_byte_count_has_to_fit(datatype: str, data: bytes, shape: tuple[int, ...]) -> None:
    """Exactly the bytes that the shape needs are taken; any other count is an error."""
    needed = int(np.prod(shape)) * DTYPES[datatype].itemsize
    if len(data) == needed:
        assert from_bytes(data, datatype, shape).shape == shape
    else:
        with pytest.raises(ValueError, match=f"{needed} bytes expected"):
            from_bytes(data, datatype, shape)


def test_reading_does_not_copy() -> None:
    """The array looks at the message's own bytes."""
    array = from_bytes(bytes(8), "FP32", (2,))
    assert not array.flags.owndata
    assert not array.flags.writeable


def test_a_spec_accepts_any_size_where_it_says_so() -> None:
    """-1 stands for any size, every other number for itself, and the rank is fixed."""
    spec = TensorSpec("x", "FP32", (-1, 3))
    assert spec.accepts((7, 3))
    assert not spec.accepts((7, 4))
    assert not spec.accepts((7,))


@given(tensors())
def test_octets_are_the_wire_form(tensor: tuple[str, np.ndarray]) -> None:
    """As to_bytes, but numbers stay where they are."""
    _, array = tensor
    found = octets(array)
    assert bytes(found) == to_bytes(array)
    if array.size and array.flags.c_contiguous:
        assert np.shares_memory(np.frombuffer(found, np.uint8), array)


def test_memory_is_read_in_place_where_its_address_allows() -> None:
    """A tensor looks into the memory it lies in; only an address off the dtype's is copied."""
    memory = np.zeros(17, np.uint8)
    in_place = from_bytes(memory.data[:16], "FP32", (4,))
    assert np.shares_memory(in_place, memory)
    moved = from_bytes(memory.data[1:], "FP32", (4,))
    assert moved.flags.aligned
    assert not np.shares_memory(moved, memory)
