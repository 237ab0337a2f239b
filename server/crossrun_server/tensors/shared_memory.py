"""System shared memory: named parts of POSIX shared memory objects, read and written by requests.

Tensors are copied, not mapped: a client that truncates a mapped object kills who touches it, and
one that writes to it changes the input of a run. Knows bytes, not messages or tensors. The objects
belong to the clients that made them: this module never creates or removes any.
"""

import os
import stat
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crossrun_server.errors import (
    Forbidden,
    InvalidRequest,
    NotEnabled,
    RegionExists,
    TooMany,
    UnknownRegion,
)

FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory objects
MOST_REGIONS = 512  # each keeps a file open
MOST_BYTES = 1 << 28  # of a tensor: an object's size costs a client nothing


@dataclass(frozen=True, eq=False)
class Region:
    """A registered part of a shared memory object; offset and size in bytes."""

    name: str
    key: str
    offset: int
    byte_size: int
    descriptor: int  # of the object; closed with the last who has the region

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self.descriptor)

    def part(self, offset: int, byte_size: int) -> "Part":
        """Return a part of the region; it can be used even if the region is unregistered.

        Raises:
            InvalidRequest: the part lies outside the region.
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
        return Part(self, offset, byte_size)

    def require_whole(self) -> None:
        """Raise InvalidRequest if the object has shrunk."""
        size = os.fstat(self.descriptor).st_size
        if size < self.offset + self.byte_size:
            raise InvalidRequest(
                f"shared memory region {self.name!r} lies beyond the end of {self.key!r}, "
                f"which has shrunk to {size} bytes"
            )


class Part(NamedTuple):
    """A part of a region that holds a tensor; offset and size in bytes."""

    region: Region
    offset: int
    byte_size: int

    def read(self) -> memoryview:
        """Copy its bytes.

        Raises:
            InvalidRequest: there are too many for a tensor, or the object has shrunk.
        """
        if self.byte_size > MOST_BYTES:
            raise InvalidRequest(
                f"a tensor of {self.byte_size} bytes in shared memory region {self.region.name!r}, "
                f"expected {MOST_BYTES} at most"
            )
        data, at = np.empty(self.byte_size, np.uint8).data, 0
        start = self.region.offset + self.offset
        while at < len(data):
            read = os.preadv(self.region.descriptor, [data[at:]], start + at)
            if not read:
                self.region.require_whole()
            at += read
        return data

    def write(self, data: memoryview) -> None:
        """Write to its start.

        Raises:
            ValueError: the data do not fit; nothing is written.
            InvalidRequest: the object has shrunk, or the system has no memory for it.
        """
        if len(data) > self.byte_size:
            raise ValueError(
                f"{self.byte_size} bytes should be at least {len(data)} to hold the results"
            )
        self.region.require_whole()
        start, at = self.region.offset + self.offset, 0
        try:
            while at < len(data):
                at += os.pwrite(self.region.descriptor, data[at:], start + at)
        except OSError as error:
            raise InvalidRequest(
                f"failed to write to shared memory region {self.region.name!r}: {error.strerror}"
            ) from error


class Regions:
    """The registered regions by name, if clients may register any.

    Args:
        enabled: whether they may.
        prefix: with which the name of an object has to begin.
    """

    def __init__(self, enabled: bool, prefix: str = "") -> None:
        self.enabled = enabled
        self._prefix = prefix.lstrip("/")
        self._regions: dict[str, Region] = {}

    def require_enabled(self) -> None:
        """Raise NotEnabled if clients may not use shared memory."""
        if not self.enabled:
            raise NotEnabled(
                "Client shared memory is disabled. "
                "Start the server with '--shared-memory' to enable."
            )

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Give a name to a part of an existing shared memory object.

        Args:
            name: what requests will call the region.
            key: the object's name, as given to shm_open(3).
            offset: where in the object the region starts, bytes.
            byte_size: its size, bytes.

        Raises:
            NotEnabled: clients may not use shared memory.
            RegionExists: the name is taken.
            TooMany: there are as many regions as there may be.
            UnknownRegion: there is no such object.
            Forbidden: the object's name does not begin as it has to, or the object is neither the
                server's user's nor its group's.
            InvalidRequest: the key cannot be an object's name, or the region lies outside it.
        """
        self.require_enabled()
        if not name:
            raise InvalidRequest("cannot register a shared memory region without a name")
        if name in self._regions:
            raise RegionExists(f"shared memory region {name!r} already in manager")
        if len(self._regions) >= MOST_REGIONS:
            raise TooMany(f"{MOST_REGIONS} shared memory regions are registered, which is the most")
        if not key.lstrip("/").startswith(self._prefix):
            raise Forbidden(
                f"cannot register shared memory region {name!r}: shm key {key!r} does not begin "
                f"with {self._prefix!r} (--shared-memory-prefix)"
            )
        region = Region(name, key, offset, byte_size, _open(name, key))
        _check_object(region)
        self._regions[name] = region

    def unregister(self, name: str = "") -> None:
        """Unregister a region, if it is known; without a name, all regions.

        Requests that use it go on: the object is closed once the last of them has ended.

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

    def part(self, name: str, offset: int, byte_size: int) -> Part:
        """Return a part of a region, as Region.part does.

        Raises:
            NotEnabled: clients may not use shared memory.
            UnknownRegion: there is none of that name.
            InvalidRequest: the part lies outside the region.
        """
        self.require_enabled()
        if name not in self._regions:
            raise UnknownRegion(f"Unable to find shared memory region: {name!r}")
        return self._regions[name].part(offset, byte_size)


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


def _check_object(region: Region) -> None:
    found, (offset, size) = os.fstat(region.descriptor), (region.offset, region.byte_size)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest(
            f"Invalid shared memory region: {region.key!r}: not a shared memory object"
        )
    _check_owner(region, found)
    if size < 1 or offset + size > found.st_size:
        raise InvalidRequest(
            f"failed to register shared memory region {region.name!r}: invalid args: "
            f"offset {offset} and byte_size {size} in the {found.st_size} bytes of {region.key!r}"
        )


def _check_owner(region: Region, found: os.stat_result) -> None:
    """Refuse an object of somebody else: a server that runs as root may open all there are."""
    if found.st_uid != os.geteuid() and found.st_gid not in (os.getegid(), *os.getgroups()):
        raise Forbidden(
            f"Unable to open shared memory region: {region.key!r}: the object belongs neither to "
            "the server's user nor to a group of it"
        )
