"""Where the command line speaks: on stderr, whatever goes into files or pipes."""

from rich.console import Console

console = Console(stderr=True)


def say(text: str) -> None:
    """Print a line; only a terminal breaks it."""
    console.print(text, highlight=False, soft_wrap=True)
