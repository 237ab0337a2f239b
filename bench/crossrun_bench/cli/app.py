"""The program that commands belong to, and what is one of its command lines."""

import shlex
import sys
from collections.abc import Sequence
from typing import Any

import typer

from crossrun_bench.errors import BenchError

app = typer.Typer(
    help="Measure a served model against the model it came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def command() -> str:
    """What was typed, to be typed again."""
    return shlex.join(["crossrun-bench", *sys.argv[1:]])


def check(words: Sequence[str]) -> None:
    """Checks a command line of this program without running it.

    Raises:
        BenchError: it is not a command line of this program.
    """
    program, name, *options = words
    command: Any = typer.main.get_command(app)
    # Typer has a click of its own, or the real one, and names its family of errors nowhere.
    usage_error: Any = typer.BadParameter.__bases__
    try:
        if name not in command.commands:
            raise BenchError(f"no command '{name}': expected one of {', '.join(command.commands)}")
        command.commands[name].make_context(program, options)
    except usage_error as error:
        raise BenchError(f"{name}: {error.format_message()}") from error
