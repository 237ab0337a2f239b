"""Which front end serves: what was asked for, or an error that says what to install."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from crossrun_server.errors import ServingError
from crossrun_server.fronts import choice
from crossrun_server.fronts.choice import FrontName


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """The native front end is not installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


@pytest.mark.usefixtures("without")
def test_what_is_not_installed_and_asked_for_is_an_error() -> None:
    with pytest.raises(ServingError, match=r"--front native needs crossrun-front.+install"):
        choice.chosen(FrontName.NATIVE)


@pytest.mark.usefixtures("without")
def test_auto_takes_the_other_one_then() -> None:
    assert choice.chosen(FrontName.AUTO).name == FrontName.PYTHON


def test_auto_takes_the_native_one_where_it_is() -> None:
    pytest.importorskip("crossrun_front", reason="the native front end is not installed")
    assert choice.chosen(FrontName.AUTO).name == FrontName.NATIVE
    assert choice.chosen(FrontName.PYTHON).name == FrontName.PYTHON


def test_one_that_does_not_suit_the_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is older or newer: nothing goes on with a front end that means other things."""
    other = ModuleType("crossrun_front")
    other.__spec__ = ModuleSpec("crossrun_front", None)
    other.INTERFACE, other.__version__ = 99, "9.9"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "crossrun_front", other)
    expected = rf"crossrun-front 9\.9 does not suit .+ 99, expected {choice.INTERFACE}"
    with pytest.raises(ServingError, match=expected):
        choice.chosen(FrontName.AUTO)
