"""The distribution that holds the bench, and how messages name its extras."""

import platform
import sys

NAME = "crossrun-inference"
_TENSORFLOW = ("tensorflow", "keras")
_NO_TENSORFLOW = (3, 14)  # nor in newer ones, as the extra's markers in pyproject.toml say


def the_extra(name: str) -> str:
    """Name an extra in a message, without a command.

    The distribution is on no package index: how to install it depends on where it came from.
    """
    return f"the extra [{name}] of {NAME}"


def missing(package: str | None, extra: str) -> str:
    """Say which extra brings a missing package, or which Python that package needs."""
    brought = the_extra(extra)
    if str(package).startswith(_TENSORFLOW) and sys.version_info >= _NO_TENSORFLOW:
        return (
            f"needs {package}, which {brought} brings for Python 3.11 to 3.13 only, "
            f"and this is {platform.python_version()}"
        )
    return f"needs {package}, which is not installed: install {brought}"
