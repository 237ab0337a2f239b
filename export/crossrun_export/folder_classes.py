"""Which class a folder of pictures shows: its name is a label of the model or a WordNet id.

Where no folder is a class, pictures have no labels; where some are, all others are a mistake.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossrun_export.errors import ExportError
from crossrun_export.folders import Listed
from crossrun_export.original import Classifier

SKIP = "--skip-unknown-folders"


class Shown(NamedTuple):
    """What pictures show: one of both is None."""

    classes: NDArray[np.int64] | None  # [pictures], positions in the model's output
    unknown: str | None  # why that is not known, as part of a sentence


def shown(root: Path, files: Sequence[Path], source: Classifier) -> Shown:
    """Find the class of each picture by the name of the folder that it lies in, below `root`.

    Raises:
        ExportError: some folders are classes and others are not, or a name is that of two classes.
    """
    if not source.labels:
        return Shown(None, "the model has no labels")
    known = _known(root, files, source)
    if not known:
        return Shown(None, f"no folder of {root} is a class of the model")
    if unknown := next((file.parent for file in files if file.parent not in known), None):
        raise ExportError(
            f"{_named(unknown, root)} is no class of the model; expected its label, such as "
            f"{source.labels[0]!r}, or WordNet id; {SKIP} passes such folders over"
        )
    return Shown(np.array([known[file.parent] for file in files], np.int64), None)


def without_unknown(root: Path, found: Listed, source: Classifier) -> Listed:
    """Leave out pictures whose folder is no class.

    Raises:
        ExportError: then none is left, or a name is that of two classes.
    """
    known = _known(root, found.files, source)
    files = tuple(file for file in found.files if file.parent in known)
    if not files:
        raise ExportError(f"{SKIP}: no folder of {root} is a class of the model")
    if len(files) == len(found.files):
        return found
    others = dict.fromkeys(file.parent for file in found.files if file.parent not in known)
    names = ", ".join(_named(folder, root) for folder in others)
    count = len(found.files) - len(files)
    note = f"passed over {count} picture{'s' * (count > 1)} that no class is named for: {names}"
    return Listed(files, (*found.notes, note))


def _known(root: Path, files: Sequence[Path], source: Classifier) -> dict[Path, int]:
    """The class of each folder that is one."""
    places = _places(source)
    folders = {file.parent for file in files} - {root}
    found = {folder: places.get(_plain(folder.name), ()) for folder in folders}
    for folder in sorted(folder for folder, classes in found.items() if len(classes) > 1):
        raise ExportError(
            f"{folder} may be any of the classes {', '.join(map(str, found[folder]))}, which have "
            f"the same label{_settled(found[folder], source)}"
        )
    return {folder: classes[0] for folder, classes in found.items() if classes}


def _places(source: Classifier) -> Mapping[str, Sequence[int]]:
    """The classes of each name."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for names in (source.labels, source.wordnet_ids):
        for place, name in enumerate(names):
            places[_plain(name)].append(place)
    return places


def _settled(classes: Sequence[int], source: Classifier) -> str:
    if not source.wordnet_ids:
        return "; expected labels that differ in more than capitals and spaces"
    ids = " or ".join(source.wordnet_ids[place] for place in classes)
    return f"; name it by WordNet id, {ids}"


def _named(folder: Path, root: Path) -> str:
    return f"{root} itself, without a folder below it," if folder == root else str(folder)


def _plain(name: str) -> str:
    """Without what file systems and archives change in a name."""
    return unicodedata.normalize("NFC", name).strip().lower().replace(" ", "_")
