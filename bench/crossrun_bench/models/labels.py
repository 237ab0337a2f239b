"""Reads label files, and finds each picture's class from the name of its folder.

Knows two layouts: DIR/WNID/* as in an ImageNet validation folder, and DIR/LABEL/*.
"""

import codecs
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from crossrun_bench.errors import BenchError

Labels = tuple[int, ...]

SKIP = "--skip-unknown-folders"
_OTHER_TEXT = (
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
)  # UTF-32's begin or end with the same bytes


def read(file: Path) -> tuple[str, ...]:
    r"""The lines of a label file in UTF-8. Only \n and \r\n end a line.

    Raises:
        BenchError: the file is not UTF-8 text.
    """
    data = file.read_bytes()
    if data.startswith(_OTHER_TEXT) or b"\0" in data:
        raise BenchError(f"{file}: not UTF-8 text: it looks like UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"line {line} holds the byte 0x{data[error.start]:02x}"
        raise BenchError(f"{file}: not UTF-8 text: {wrong}") from error
    return tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n")) if text else ()


def check_count(file: Path, labels: Sequence[str], classes: int) -> None:
    """Check that there is a label for each class; two labels fit a single score.

    Raises:
        BenchError: there are more labels than classes, or fewer.
    """
    if len(labels) == classes or (classes, len(labels)) == (1, 2):
        return
    hint = ""
    if len(labels) == classes + 1 and labels[0].strip().lower() in {"background", "dummy"}:
        hint = f"; its first line, '{labels[0]}', belongs to a model with one more class"
    raise BenchError(f"{file}: {len(labels)} labels, but the model has {classes} classes{hint}")


def labelled(
    source: Path, files: Sequence[Path], labels: Sequence[str]
) -> tuple[Labels | None, str | None]:
    """The class of each file, from the name of its folder; or None, and why it is unknown.

    Raises:
        BenchError: some folders are classes and others are not, or a name fits two classes.
    """
    if source.is_file():
        return None, "a single picture has no folder that names its class"
    if not labels:
        return None, "the model has no labels"
    known = _known(source, files, labels)
    if not known:
        return None, "no folder is a label of the model or a WordNet id of its classes"
    strange = next((file.parent for file in files if file.parent not in known), None)
    if strange is not None:
        inside = "pictures outside a class folder" if strange == source else "this folder"
        raise BenchError(
            f"{strange}: {inside}: not a class of the model; expected a label, such as "
            f"'{labels[0]}', or a WordNet id; {SKIP} passes over such pictures"
        )
    return tuple(known[file.parent] for file in files), None


def known_only(source: Path, files: Sequence[Path], labels: Sequence[str]) -> list[Path]:
    """The files whose folder is a class.

    Raises:
        BenchError: there is no such file.
    """
    known = {} if source.is_file() else _known(source, files, labels)
    kept = [file for file in files if file.parent in known]
    if not kept:
        raise BenchError(f"{SKIP}: no folder of {source} is a class of the model")
    return kept


def by_name(labels: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """The classes of each label, as `normal` returns it; ImageNet has two cranes."""
    return _places(enumerate(labels))


def normal(name: str) -> str:
    """A label in the form in which labels are compared: file systems and archives change names."""
    return unicodedata.normalize("NFC", name).strip().lower().replace(" ", "_")


def _known(source: Path, files: Sequence[Path], labels: Sequence[str]) -> dict[Path, int]:
    """The class of each folder that is a class."""
    ids = _wordnet_ids(labels)
    places = {**by_name(labels), **_places((place, wnid) for wnid, place in ids.items())}
    folders = {file.parent for file in files} - {source}
    found = {folder: places.get(normal(folder.name), ()) for folder in folders}
    for folder in sorted(folder for folder, classes in found.items() if len(classes) > 1):
        named = [wnid for wnid, place in ids.items() if place in found[folder]]
        settled = f"name it by WordNet id, {' or '.join(named)}" if named else "rename one of them"
        numbers = ", ".join(map(str, found[folder]))
        raise BenchError(f"{folder}: the label of several classes, {numbers}; {settled}")
    return {folder: classes[0] for folder, classes in found.items() if classes}


def _places(names: Iterable[tuple[int, str]]) -> Mapping[str, Sequence[int]]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for place, name in names:
        found[normal(name)].append(place)
    return found


def _wordnet_ids(labels: Sequence[str]) -> dict[str, int]:
    """The position of each id in Keras's class index, if the model's label there is the same."""
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
