"""The distribution that the export is installed from, and how a message names its extras."""

import platform
import sys

NAME = "crossrun-inference"
_TENSORFLOW = ("tensorflow", "keras")
_NO_TENSORFLOW = (3, 14)  # nor in newer ones, as the extra's markers in pyproject.toml say


def missing(package: str | None, extras: str) -> str:
    """Say which extras bring a package that could not be imported, or which Python it wants.

    Without a command: the distribution is on no package index, so how to install it depends on
    where it came from.
    """
    brought = f"the extra [{extras}] of {NAME}"
    if str(package).startswith(_TENSORFLOW) and sys.version_info >= _NO_TENSORFLOW:
        return (
            f"needs {package}, which {brought} brings for Python 3.11 to 3.13 only, "
            f"and this is {platform.python_version()}"
        )
    return f"needs {package}, which is not installed: install {brought}"
