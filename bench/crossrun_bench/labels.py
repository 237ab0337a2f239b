"""What each picture of a folder shows, as a position in a model's output.

Knows the layouts DIR/WNID/* of an ImageNet validation folder and DIR/LABEL/*.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Labels = tuple[int, ...]


def labelled(
    source: Path, files: Sequence[Path], labels: Sequence[str]
) -> tuple[Labels | None, str | None]:
    """The class of each file; or None and why, where any of the folders means nothing to us."""
    if source.is_file():
        return None, "a single picture has no folder that names its class"
    known = by_name(labels) | _by_wnid(labels)
    folders = [file.relative_to(source).parent.as_posix() for file in files]
    for folder in folders:
        if normal(folder) not in known:
            what = "pictures outside a class folder" if folder == "." else f"folder '{folder}'"
            return None, f"{what}: neither a label of the model nor a WordNet id of its classes"
    return tuple(known[normal(folder)] for folder in folders), None


def normal(name: str) -> str:
    """A label as it is compared."""
    return name.strip().lower().replace(" ", "_")


def by_name(labels: Sequence[str]) -> dict[str, int]:
    """The class of each label, as `normal` gives it.

    Those that two classes share (ImageNet has two cranes) name neither.
    """
    names = [normal(name) for name in labels]
    return {name: i for i, name in enumerate(names) if names.count(name) == 1}


def _by_wnid(labels: Sequence[str]) -> dict[str, int]:
    """Keras's class index, position by position, where the model's labels follow it."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        text = (home / "models" / "imagenet_class_index.json").read_text("utf-8")
    except OSError:
        return {}
    index = {int(i): (str(wnid), str(name)) for i, (wnid, name) in json.loads(text).items()}
    if len(index) != len(labels):
        return {}
    same = (i for i, name in enumerate(labels) if normal(name) == normal(index[i][1]))
    return {index[i][0]: i for i in same}
