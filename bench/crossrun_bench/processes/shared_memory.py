"""Shared memory that a server on the same machine opens by name. It never outlives its process.

Knows only Linux's /dev/shm. A process has one object at most.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossrun_bench.errors import BenchError

FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory objects


@contextmanager
def created(byte_size: int) -> Iterator[tuple[str, mmap.mmap]]:
    """A new object: its key for shm_open(3), which is removed on leaving, and its memory.

    A server that has opened it by then keeps it.

    Raises:
        BenchError: this system has no such shared memory.
    """
    path = _path(os.getpid())
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BenchError(f"{path}: no shared memory: {error.strerror}") from error
    try:
        os.ftruncate(descriptor, byte_size)
        yield f"/{path.name}", mmap.mmap(descriptor, byte_size)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def remove(pid: int) -> None:
    """Remove what a process left that was killed inside `created`."""
    _path(pid).unlink(missing_ok=True)


def _path(pid: int) -> Path:
    return FOLDER / f"crossrun-bench-{pid}"
