"""The tests themselves: what they share is in `tests/support` and in conftest.py."""

import re

import pytest

from tests.support.running import ROOT

# In programs that tests hand to another process, too, so that no syntax tree would do.
IMPORT = re.compile(r"^\s*(?:from\s+\S+\s+import\s+(?:\([^)]*\)|.*)|import\s+.*)", re.MULTILINE)
TEST_MODULE = re.compile(r"\btest_\w+")


def test_no_test_module_is_imported() -> None:
    """What two test modules need is in a room of `tests/support`, not in one of the two."""
    files = (ROOT / "tests").rglob("*.py")
    found = [(str(file.relative_to(ROOT)), *imported_tests(file.read_text())) for file in files]
    assert [imports for imports in found if len(imports) > 1] == []


@pytest.mark.parametrize(
    "statement",
    [
        "import tests.server.test_a",
        "from tests.server.test_a import b",
        "from tests.server import test_a",
        "from tests.server import (\n    conftest,\n    test_a,\n)",
        "from . import test_a",
        "def late():\n    from .test_a import b as c",
    ],
)
def test_each_form_of_an_import_is_seen(statement: str) -> None:
    """The rule holds for modules and for names, at the top and inside a function."""
    assert imported_tests(statement) == ["test_a"]


def imported_tests(text: str) -> list[str]:
    """The test modules, or what is named like one, that a module's text imports."""
    return [name for found in IMPORT.findall(text) for name in TEST_MODULE.findall(found)]
