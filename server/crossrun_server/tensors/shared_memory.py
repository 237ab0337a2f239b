"""System shared memory: named parts of POSIX shared memory objects, mapped once, used in place.

Knows bytes, not messages or tensors. The objects belong to the clients that made them: this module
only opens them, and never creates or removes any.
"""

import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from crossrun_server.errors import InvalidRequest, NotEnabled, RegionExists, UnknownRegion

FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory objects


@dataclass(frozen=True, eq=False)
class Region:
    """A registered part of a shared memory object; offset and size in bytes."""

    name: str
    key: str
    offset: int
    byte_size: int
    mapping: mmap.mmap  # from the last page boundary before the offset

    def view(self, offset: int, byte_size: int) -> memoryview:
        """Return a part of the region, without copying it.

        The mapping lives as long as any view of it, even if the region is unregistered.

        Raises:
            InvalidRequest: the part lies outside the region, or the object has shrunk since.
        """
        if not 0 <= offset < self.byte_size:
            raise InvalidRequest(
                f"Invalid offset for shared memory region: {self.name!r}: "
                f"{offset} in {self.byte_size} bytes"
            )
        if not 0 <= byte_size <= self.byte_size - offset:
            raise InvalidRequest(
                f"Invalid offset + byte size for shared memory region: {self.name!r}: "
                f"{offset} + {byte_size} in {self.byte_size} bytes"
            )
        if self.mapping.size() < self.offset + self.byte_size:  # touching it would be a bus error
            raise InvalidRequest(
                f"shared memory region {self.name!r} lies beyond the end of {self.key!r}, "
                f"which has shrunk to {self.mapping.size()} bytes"
            )
        start = self.offset % mmap.ALLOCATIONGRANULARITY + offset
        return memoryview(self.mapping)[start : start + byte_size]


class Regions:
    """The registered regions by name, if clients may register any."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._regions: dict[str, Region] = {}

    def require_enabled(self) -> None:
        """Raise NotEnabled if clients may not use shared memory."""
        if not self.enabled:
            raise NotEnabled(
                "Client shared memory is disabled. "
                "Start the server with '--shared-memory' to enable."
            )

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Map a part of an existing shared memory object.

        Args:
            name: what requests will call the region.
            key: the object's name, as given to shm_open(3).
            offset: where in the object the region starts, bytes.
            byte_size: its size, bytes.

        Raises:
            NotEnabled: clients may not use shared memory.
            RegionExists: the name is taken.
            UnknownRegion: there is no such object.
            InvalidRequest: the key cannot be an object's name, or the region lies outside it.
        """
        self.require_enabled()
        if not name:
            raise InvalidRequest("cannot register a shared memory region without a name")
        if name in self._regions:
            raise RegionExists(f"shared memory region {name!r} already in manager")
        descriptor = _open(name, key)
        try:
            _check_bounds(descriptor, name, key, offset, byte_size)
            mapping = _map(descriptor, offset, byte_size)
        except OSError as error:
            raise InvalidRequest(
                f"failed to register shared memory region {name!r}: {error.strerror}"
            ) from error
        finally:
            os.close(descriptor)
        self._regions[name] = Region(
            name=name, key=key, offset=offset, byte_size=byte_size, mapping=mapping
        )

    def unregister(self, name: str = "") -> None:
        """Unregister a region, if it is known; without a name, all regions.

        Requests that use it go on: the memory is unmapped once the last of them has ended.

        Raises:
            NotEnabled: clients may not use shared memory.
        """
        self.require_enabled()
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def status(self, name: str = "") -> list[Region]:
        """List the registered regions, or only the one of this name.

        Raises:
            NotEnabled: clients may not use shared memory.
            UnknownRegion: there is none of that name.
        """
        self.require_enabled()
        if not name:
            return list(self._regions.values())
        if name not in self._regions:
            raise UnknownRegion(f"Unable to find system shared memory region: {name!r}")
        return [self._regions[name]]

    def view(self, name: str, offset: int, byte_size: int) -> memoryview:
        """Return a part of a region, as Region.view does.

        Raises:
            NotEnabled: clients may not use shared memory.
            UnknownRegion: there is none of that name.
            InvalidRequest: the part lies outside the region.
        """
        self.require_enabled()
        if name not in self._regions:
            raise UnknownRegion(f"Unable to find shared memory region: {name!r}")
        return self._regions[name].view(offset, byte_size)


def _open(name: str, key: str) -> int:
    """Open an object for reading and writing; its name must be a file's, not a path."""
    file = key.lstrip("/")
    if file in ("", ".", "..") or "/" in file or "\0" in file:
        raise InvalidRequest(
            f"cannot register shared memory region {name!r} - invalid shm key {key!r}"
        )
    try:
        return os.open(FOLDER / file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise UnknownRegion(
            f"Unable to open shared memory region: {key!r}: there is no such object"
        ) from None
    except OSError as error:
        raise InvalidRequest(
            f"Unable to open shared memory region: {key!r}: {error.strerror}"
        ) from error


def _check_bounds(descriptor: int, name: str, key: str, offset: int, byte_size: int) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest(f"Invalid shared memory region: {key!r}: not a shared memory object")
    if byte_size < 1 or offset + byte_size > found.st_size:
        raise InvalidRequest(
            f"failed to register shared memory region {name!r}: invalid args: "
            f"offset {offset} and byte_size {byte_size} in the {found.st_size} bytes of {key!r}"
        )


def _map(descriptor: int, offset: int, byte_size: int) -> mmap.mmap:
    before = offset % mmap.ALLOCATIONGRANULARITY
    return mmap.mmap(descriptor, before + byte_size, offset=offset - before)
