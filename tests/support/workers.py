"""What the processes share in which `make test` runs the tests side by side."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def shared_root(config: pytest.Config, factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of all processes together."""
    own = factory.getbasetemp()
    return own.parent if hasattr(config, "workerinput") else own


def made_once(
    config: pytest.Config, factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]
) -> Path:
    """A folder that the first process to need it makes, while the others wait for it.

    Args:
        config: tells whether this process is one of several.
        factory: of this process's temporary folders.
        name: of the folder, among all that are made once.
        make: fills an empty folder; what it needs of this folder's path it must not write there.
    """
    root = shared_root(config, factory)
    folder, making = root / name, factory.mktemp(name)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(making)
            making.rename(folder)
    return folder
