"""Labels of a detector, and by which numbers it calls them: COCO's 80 classes have 90 numbers.

Knows no model. A file may be a list, a list with numbers, or a label map of TensorFlow's Object
Detection API.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossrun_export import label_file
from crossrun_export.errors import ExportError

# Lines of lists for what is no class: https://github.com/pytorch/vision (COCO_INSTANCE_CATEGORY_
# NAMES) and the labelmap.txt of TensorFlow Lite's detectors.
NOTHING = {"", "n/a", "???", "-"}
BACKGROUND = {"background", "__background__", "bg", "dummy", "unlabeled"}

NUMBERED = re.compile(r"(\d+)(?:\s*[:,]\s*|\s+)(\S.*)")
ITEM = re.compile(r"item\s*\{(.*?)\}", re.DOTALL)
FIELD = re.compile(r"""(\w+)\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(\d+))""")


@dataclass(frozen=True)
class ClassLabels:
    """Labels in the order of their classes' numbers, as labels.txt will have them."""

    names: tuple[str, ...]
    offsets: tuple[int, ...]  # how much larger each number is than the first
    first: int | None = None  # the number of the first, if the file says it
    is_listed: bool = True  # whether that is only by its place in a list

    @property
    def has_gaps(self) -> bool:
        """Whether there are numbers between that no class has."""
        return self.offsets[-1] >= len(self.names)

    def numbers(self, first: int) -> tuple[int, ...]:
        """The number of each label, where the first has this one."""
        return tuple(first + offset for offset in self.offsets)


def read(file: Path) -> ClassLabels:
    """Read labels of any of these forms.

    - One a line. Lines that are empty, N/A, ??? or - stand for numbers that no class has; if such
      a line or one of the background is the first, the class after it has the number 1.
    - Number and label a line: "1 person", "1: person".
    - A label map: item { id: 1 name: "/m/01g317" display_name: "person" } …

    Raises:
        ExportError: it cannot be read, holds no label, or two of one number.
    """
    try:
        return parse(label_file.read(file))
    except ExportError as error:
        raise ExportError(f"--labels {error}") from error
    except ValueError as error:
        raise ExportError(f"--labels {file} {error}") from error


def parse(lines: Sequence[str]) -> ClassLabels:
    """The labels in lines of any of these forms; raises ValueError, which says what is wrong."""
    if items := ITEM.findall("\n".join(lines)):
        return _by_number([_item(item) for item in items])
    numbered = [NUMBERED.fullmatch(line.strip()) for line in lines if line.strip()]
    if numbered and all(numbered):
        return _by_number([(int(found[1]), found[2]) for found in numbered if found])
    return _listed(lines)


def _item(text: str) -> tuple[int, str]:
    fields = {key: "".join(values) for key, *values in FIELD.findall(text)}
    if not fields.get("id") or not (name := fields.get("display_name") or fields.get("name")):
        raise ValueError(f"has an item without id or name: {' '.join(text.split())}")
    return int(fields["id"]), name.replace("\\'", "'").replace('\\"', '"')


def _by_number(pairs: Sequence[tuple[int, str]]) -> ClassLabels:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("has two labels of one number")
    kept = [pair for pair in sorted(named.items()) if not _is_background(*pair)]
    return replace(_placed(kept), first=kept[0][0], is_listed=False)


def _listed(lines: Sequence[str]) -> ClassLabels:
    kept = [
        (place, name)
        for place, name in enumerate(lines)
        if name.strip().lower() not in NOTHING and not _is_background(place, name)
    ]
    return replace(_placed(kept), first=kept[0][0] or None)


def _placed(kept: Sequence[tuple[int, str]]) -> ClassLabels:
    if not kept:
        raise ValueError("holds no label")
    names, offsets = zip(*((name, number - kept[0][0]) for number, name in kept), strict=True)
    return ClassLabels(names, offsets)


def _is_background(number: int, name: str) -> bool:
    return number == 0 and name.strip().lower() in BACKGROUND
