"""What a command says on stderr while it works, so that stdout stays for results."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class Step(Protocol):
    """Moves the bar on, and says what is under way."""

    def __call__(self, text: str, done: int = 1, /) -> None:
        """`done` more units of the total are done."""


@contextmanager
def bar(total: int | None) -> Iterator[Step]:
    """A progress bar of `total` units, if they are known; it leaves nothing on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=quiet
    ) as progress:
        task = progress.add_task("starting", total=total)
        yield lambda text, done=1: progress.update(task, advance=done, description=text)


def say(text: str) -> None:
    """Print a line on stderr."""
    print(f"crossrun-bench: {text}", file=sys.stderr)  # noqa: T201 - the command's own output
