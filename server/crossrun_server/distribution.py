"""The distribution that the server is installed from, and how messages name its extras."""

NAME = "crossrun-inference"


def the_extra(name: str) -> str:
    """Return words that name an extra in a message, without a command.

    The distribution is on no package index, so how to install it depends on where it came from.
    """
    return f"the extra [{name}] of {NAME}"
