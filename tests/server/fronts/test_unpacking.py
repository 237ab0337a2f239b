"""Messages that clients have packed, as grpc.aio's front end unpacks them."""

import gzip
import zlib
from collections.abc import Callable
from random import Random

import pytest

from crossrun_server.fronts.unpacking import PIECE, unpacked

PACKS = pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "zlib"])
SIZES = (0, 1, PIECE - 1, PIECE, 5 * PIECE + 1)


@PACKS
@pytest.mark.parametrize("size", SIZES)
def test_what_is_packed_comes_out_whole(pack: Callable[[bytes], bytes], size: int) -> None:
    """Up to the limit, whether it packs well or not."""
    for data in (bytes(size), Random(1).randbytes(size)):
        assert unpacked(pack(data), size) == data
        assert unpacked(pack(data), 2 * size + 1) == data


@PACKS
def test_what_is_over_the_limit_is_a_byte_longer_than_that(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(bytes(10_000_000))
    assert len(unpacked(packed, 0)) == 1
    assert len(unpacked(packed, 9_999_999)) == 10_000_000
    assert len(unpacked(packed, 1000)) == 1001


@PACKS
@pytest.mark.parametrize("size", SIZES)
def test_what_is_not_packed_as_a_whole_stays_what_it_is(
    pack: Callable[[bytes], bytes], size: int
) -> None:
    """It is cut off, or more follows, at once or in a piece of its own."""
    packed = pack(Random(1).randbytes(size))
    for message in (packed[:-1], packed + b"x", packed + bytes(4 * PIECE)):
        assert unpacked(message, 1 << 30) == message
