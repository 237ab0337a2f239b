"""Earlier answers, kept up to a number of bytes; the least recently used are dropped first.

Knows arrays, not models. Each loaded model has a part of its own, which is emptied when the model
is closed. Everything here runs on the event loop.
"""

import itertools
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b

import numpy as np

from crossrun_server.errors import ServingError
from crossrun_server.scheduling.batching import Reply, Tensors
from crossrun_server.tensors.encoding import to_bytes
from crossrun_server.tensors.tensor_spec import Array

# Bytes that an entry takes besides its values: its key, its dictionary, its arrays' headers.
ENTRY = 512

Key = tuple[int, bytes]
_owners = itertools.count()


def parse(option: str) -> int:
    """Read the size in bytes from Triton's option `local,size=BYTES`.

    Raises:
        ServingError: the option has another form.
    """
    name, _, setting = option.partition(",")
    key, _, size = setting.partition("=")
    if name != "local" or key != "size" or not size.isdecimal() or int(size) == 0:
        raise ServingError(f"--cache-config is {option!r}, expected local,size=BYTES")
    return int(size)


class ResponseCache:
    """The answers of all models."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._size = size
        self._entries: OrderedDict[Key, tuple[Tensors, int]] = OrderedDict()

    def get(self, key: Key) -> Tensors | None:
        """Find an answer; its arrays are read-only."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return dict(self._entries[key][0])

    def put(self, key: Key, outputs: Tensors) -> None:
        """Keep a copy of an answer, unless it is larger than the whole cache."""
        size = ENTRY + sum(_bytes(array) for array in outputs.values())
        if size > self._size:
            return
        self._drop(key)
        while self._free < size:
            self._drop(next(iter(self._entries)))
        self._entries[key] = ({name: _frozen(array) for name, array in outputs.items()}, size)
        self._free -= size

    def forget(self, owner: int) -> None:
        """Drop every answer of one owner."""
        for key in [key for key in self._entries if key[0] == owner]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._entries:
            self._free += self._entries.pop(key)[1]


class ModelCache:
    """One loaded model's part of the cache; another load of the same files sees none of it."""

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self._owner = next(_owners)

    async def answer(
        self, inputs: Tensors, outputs: Sequence[str], compute: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        """Return the cached answer, or compute it and cache it."""
        started = time.perf_counter_ns()
        key = (self._owner, _digest(inputs, outputs))
        found = self._cache.get(key)
        looked_up = time.perf_counter_ns() - started
        if found is not None:
            return _hit(found, looked_up)
        reply = await compute()
        started = time.perf_counter_ns()
        self._cache.put(key, reply.outputs)
        return reply._replace(cache_ns=looked_up + time.perf_counter_ns() - started)

    def close(self) -> None:
        """Drop all cached answers."""
        self._cache.forget(self._owner)


def _hit(outputs: Tensors, cache_ns: int) -> Reply:
    return Reply(
        outputs, queue_ns=0, input_ns=0, compute_ns=0, output_ns=0, batch=0, cache_ns=cache_ns
    )


def _digest(inputs: Mapping[str, Array], outputs: Sequence[str]) -> bytes:
    digest = blake2b(repr(tuple(outputs)).encode(), digest_size=32)
    for name, array in sorted(inputs.items()):
        # The lengths keep the end of one tensor apart from the beginning of the next.
        head = repr((name, array.dtype.str, array.shape)).encode()
        values = _contents(array)
        digest.update(struct.pack("<QQ", len(head), len(values)) + head)
        digest.update(values)
    return digest.digest()


def _contents(array: Array) -> bytes | memoryview:
    if array.dtype == np.object_:
        return to_bytes(array)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _bytes(array: Array) -> int:
    strings = map(sys.getsizeof, array.flat) if array.dtype == np.object_ else ()
    return array.nbytes + sum(strings)


def _frozen(array: Array) -> Array:
    copied = array.copy()  # a view would keep the memory of its whole batch
    copied.flags.writeable = False
    return copied
