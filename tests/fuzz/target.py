"""The server that takes damaged messages: models of every kind, and all that can be turned on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzz.seeds import SPARE
from tests.support import detectors, models
from tests.support.memory import FOLDER
from tests.support.running import Server, serving

OBJECT = FOLDER / "crossrun_fuzz"
OPTIONS = (
    "--shared-memory", "--model-control-mode", "explicit", "--load-model", "*",
    "--allow-model-upload",
)  # fmt: skip


@contextmanager
def target(room: Path, front: str) -> Iterator[Server]:
    """Serve until the block ends; the room is an empty folder."""
    root = models.write_all(room / "models")
    finder = detectors.FINDER + detectors.OPTIONS
    models.write(root, "finder", detectors.finder(), finder, labels=detectors.LABELS)
    models.write(root, SPARE, models.scale(1))
    OBJECT.write_bytes(bytes(64))
    try:
        with serving(root, room / "log", "--front", front, *OPTIONS) as running:
            yield running
    finally:
        OBJECT.unlink(missing_ok=True)
