"""A gRPC server that answers every call at once with the same bytes: HTTP/2 by hand.

`generator.py` needs it: no gRPC server in Python is fast enough to show a client's limit. It reads
frames, not headers, and takes whatever a gRPC client sends. RFC 9113, sections 4 and 6.
"""

import socket
import struct
import threading

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 4, 5
WIDE = 2**31 - 1
PREFACE = 24  # bytes that every client begins with


def serve(listening: socket.socket, message: bytes) -> None:
    """Answer each connection in a thread of its own, for ever."""
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(connection, message), daemon=True).start()


def _answer(connection: socket.socket, message: bytes) -> None:
    settings = struct.pack(">HIHI", INITIAL_WINDOW_SIZE, WIDE, MAX_FRAME_SIZE, 2**24 - 1)
    connection.sendall(_frame(SETTINGS, 0, 0, settings) + _widened(WIDE - 65_535))
    received, skipped, taken = bytearray(), PREFACE, 0
    while data := connection.recv(1 << 20):
        received += data
        if len(received) < skipped:
            continue
        del received[:skipped]
        skipped, replies = 0, []
        for kind, flags, stream, payload in _frames(received):
            taken += len(payload) if kind == DATA else 0
            replies.append(_reply(kind, flags, stream, payload, message))
        if taken > 1 << 24:
            replies.append(_widened(taken))
            taken = 0
        connection.sendall(b"".join(replies))


def _frames(received: bytearray) -> list[tuple[int, int, int, bytes]]:
    """Take off each whole frame: its kind, flags, stream and payload."""
    found, at = [], 0
    while len(received) - at >= 9:
        end = at + 9 + int.from_bytes(received[at : at + 3], "big")
        if len(received) < end:
            break
        stream = int.from_bytes(received[at + 5 : at + 9], "big")
        found.append((received[at + 3], received[at + 4], stream, bytes(received[at + 9 : end])))
        at = end
    del received[:at]
    return found


def _reply(kind: int, flags: int, stream: int, payload: bytes, message: bytes) -> bytes:
    if kind == DATA and flags & END_STREAM:
        head = b"\x88" + _header(b"content-type", b"application/grpc")  # 0x88: status 200
        told = _header(b"server-timing", b"queue;dur=0.123, compute;dur=2.345")
        body = b"\x00" + struct.pack(">I", len(message)) + message
        return (
            _frame(HEADERS, END_HEADERS, stream, head)
            + _frame(DATA, 0, stream, body)
            + _frame(
                HEADERS, END_HEADERS | END_STREAM, stream, _header(b"grpc-status", b"0") + told
            )
        )
    if kind in {SETTINGS, PING} and not flags & ACK:
        return _frame(kind, ACK, 0, payload if kind == PING else b"")
    return b""


def _widened(count: int) -> bytes:
    return _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", count))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def _header(name: bytes, value: bytes) -> bytes:
    """A header in HPACK, without indexing."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
