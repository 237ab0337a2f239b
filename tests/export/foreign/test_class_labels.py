"""Files of labels in all the forms that detectors come with."""

from pathlib import Path

import pytest

from crossrun_export.errors import ExportError
from crossrun_export.foreign import class_labels
from crossrun_export.foreign.class_labels import ClassLabels

MAP = """
item {
  name: "/m/01g317"
  id: 1
  display_name: "person"
}
item { id: 3 name: 'it\\'s a car' }
"""


def read(folder: Path, text: str) -> ClassLabels:
    file = folder / "labels"
    file.write_text(text)
    return class_labels.read(file)


def test_a_plain_list_does_not_say_the_first_number(tmp_path: Path) -> None:
    found = read(tmp_path, "person\nbicycle\ncar\n")
    assert found.names == ("person", "bicycle", "car")
    assert found.first is None
    assert not found.has_gaps
    assert found.numbers(1) == (1, 2, 3)


@pytest.mark.parametrize("nothing", ["N/A", "n/a", "???", "", "-"])
def test_lines_without_a_label_are_gaps_between_numbers(tmp_path: Path, nothing: str) -> None:
    found = read(tmp_path, f"person\n{nothing}\ncar\n")
    assert found.names == ("person", "car")
    assert found.has_gaps
    assert found.numbers(1) == (1, 3)


@pytest.mark.parametrize("first", ["background", "__background__", "???", "N/A"])
def test_a_list_that_begins_with_no_class_counts_from_one(tmp_path: Path, first: str) -> None:
    found = read(tmp_path, f"{first}\nperson\ncar\n")
    assert found == ClassLabels(("person", "car"), (0, 1), 1, is_listed=True)


@pytest.mark.parametrize("line", ["{} {}", "{}: {}", "{}:{}", "{}, {}", "{}  {}"])
def test_numbers_before_labels_are_those_of_the_classes(tmp_path: Path, line: str) -> None:
    pairs = [(1, "person"), (2, "bicycle"), (13, "stop sign")]
    found = read(tmp_path, "\n".join(line.format(*pair) for pair in pairs))
    assert found == ClassLabels(("person", "bicycle", "stop sign"), (0, 1, 12), 1, is_listed=False)


def test_a_label_that_begins_with_a_digit_is_no_number(tmp_path: Path) -> None:
    assert read(tmp_path, "person\n7 up bottle\n").names == ("person", "7 up bottle")


def test_a_label_map_has_ids_and_names_to_display(tmp_path: Path) -> None:
    assert read(tmp_path, MAP) == ClassLabels(("person", "it's a car"), (0, 2), 1, is_listed=False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no label"),
        ("N/A\n???\n", "holds no label"),
        ("1 person\n1 car\n", "two labels of one number"),
        ('item { name: "person" }', "an item without id or name"),
        ("item { id: 4 }", "an item without id or name"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ExportError, match=told):
        read(tmp_path, text)
