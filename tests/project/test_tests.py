"""The tests themselves: what they share is in `tests/support` and in conftest.py."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.running import ROOT


def test_no_test_module_is_imported() -> None:
    """What two test modules need is in a room of `tests/support`, not in one of the two."""
    modules = (ROOT / "tests").rglob("*.py")
    found = {
        str(path.relative_to(ROOT)): list(modules_of_tests(path.read_text())) for path in modules
    }
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "import tests.server.test_a",
        "from tests.server.test_a import b",
        "from tests.server import test_a",
        "from . import test_a",
        "def late():\n    from .test_a import b as c",
    ],
)
def test_each_form_of_an_import_is_seen(statement: str) -> None:
    """The rule holds for modules and for names, at the top and inside a function."""
    assert list(modules_of_tests(statement))


def modules_of_tests(text: str) -> Iterator[str]:
    """The test modules that a module's text imports, as it names them."""
    for name in imported(text):
        if any(part.startswith("test_") for part in name.split(".")):
            yield name


def imported(text: str) -> Iterator[str]:
    """The dotted names that a module's text imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
