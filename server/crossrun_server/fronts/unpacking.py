"""Messages that clients have packed, by gzip or zlib: gRPC would unpack them whole, however large.

So gRPC is told to leave them as they are, and they are unpacked here, as far as they may go. gRPC
does not say which are packed. But no message of protobuf begins as gzip does, and what begins as
zlib does, and is that, has a checksum at its end.
"""

import asyncio
import zlib

LEFT_ALONE = ("grpc.per_message_decompression", 0)  # gRPC's option
BEGINNINGS = (b"\x1f\x8b", b"\x78")
EITHER = 32 + zlib.MAX_WBITS  # zlib finds out which of the two it is
SHORT = 4096  # bytes that are unpacked here; more are on a thread
AT_ONCE = 4  # threads, each of which may hold as much as a message may be
PIECE = 16 << 10  # bytes, of which at most 17 MB are made: no thread holds the others up for long


class Unpacker:
    """Unpacks messages, beside whatever the event loop does."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def whole(self, message: bytes, most: int) -> bytes:
        """Return what a message holds, but not more than one byte over the limit."""
        if not message.startswith(BEGINNINGS):
            return message
        if len(message) <= SHORT:
            return unpacked(message, most)
        async with self._turns:
            return await asyncio.to_thread(unpacked, message, most)


def unpacked(message: bytes, most: int) -> bytes:
    """Unpack a message; one that is not packed stays what it is.

    Returns:
        What it holds. If that is over the limit, zeros: one byte more than the limit.
    """
    work, parts, left = zlib.decompressobj(EITHER), list[bytes](), most + 1
    pieces = (message[start : start + PIECE] for start in range(0, len(message), PIECE))
    try:
        for piece in pieces:
            parts.append(work.decompress(piece, left))
            left -= len(parts[-1])
            if work.eof or not left:
                break
    except zlib.error:
        return message
    if not left:
        return bytes(most + 1)
    whole = work.eof and not work.unused_data and not any(pieces)
    return b"".join(parts) if whole else message
