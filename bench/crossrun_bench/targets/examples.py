"""The pictures by which answers are judged, found or drawn.

Leaves out pictures that a model was calibrated on.
"""

import hashlib
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.models.labels import Labels, known_only, labelled
from crossrun_bench.pictures.prepare import listed
from crossrun_bench.processes.serving import sibling
from crossrun_bench.progress import say

BUNDLED = "bundled"
_COUNT = 200
# How pictures of one object and of several are drawn; training uses other seeds.
_DRAWN = {
    "one": ("--seed", "2", "--size", "256"),
    "several": ("--seed", "1000003", "--size", "160"),
}
_DIGITS = 16  # of a SHA-256, as in the metadata of a calibrated model


@dataclass(frozen=True)
class Examples:
    """Pictures, and their labels."""

    files: tuple[Path, ...]
    names: tuple[str, ...]  # paths inside the folder
    labels: Labels | None  # None if they are unknown
    unlabelled: str | None  # why they are unknown
    left_out: int  # how many more pictures a model was calibrated on


def folder_of(images: str, inside: Path, objects: str = "one") -> Path:
    """The folder `images`; for "bundled", a new folder of drawn pictures `inside` another.

    `objects` says whether each of them shows one object or several.
    """
    return _drawn(inside, objects) if images == BUNDLED else Path(images)


def examples(
    source: Path,
    labels: Sequence[str],
    calibrated_on: Collection[str] = (),
    *,
    skip_unknown: bool = False,
) -> Examples:
    """The pictures of a folder, without those of calibration.

    With `skip_unknown`, pictures whose folder is not a class are passed over as well; a line on
    stderr names these folders.

    Raises:
        BenchError: no picture is left, or some folders are classes and others are not.
    """
    found = _known(source, listed([source]), labels) if skip_unknown else listed([source])
    labelled(source, found, labels)  # all of them, also those that are left out
    files = tuple(file for file in found if not calibrated(file, calibrated_on))
    if not files:
        raise BenchError(
            f"{source}: the model was calibrated on every picture in it; expected other pictures"
        )
    folder = source if source.is_dir() else source.parent
    names = tuple(str(file.relative_to(folder)) for file in files)
    return Examples(files, names, *labelled(source, files, labels), len(found) - len(files))


def _known(source: Path, found: tuple[Path, ...], labels: Sequence[str]) -> tuple[Path, ...]:
    kept = tuple(known_only(source, found, labels))
    if others := dict.fromkeys(str(file.parent) for file in found if file not in set(kept)):
        count, names = len(found) - len(kept), ", ".join(others)
        say(f"passed over {count} picture{'s' * (count > 1)} whose folder is no class: {names}")
    return kept


def calibrated(file: Path, calibrated_on: Collection[str]) -> bool:
    """Whether a picture was used to calibrate."""
    if not calibrated_on:
        return False
    return hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS] in calibrated_on


def _drawn(inside: Path, objects: str) -> Path:
    """Have crossrun-export draw pictures; if each shows one object, in a folder of its class."""
    pictures = inside / "pictures"
    generator = [sibling("crossrun-export", "export"), "pictures", str(pictures)]
    options = ["--count", str(_COUNT), "--objects", objects, *_DRAWN[objects]]
    done = subprocess.run([*generator, *options], check=False, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise BenchError(f"crossrun-export pictures failed: {said[-1]}")
    return pictures
