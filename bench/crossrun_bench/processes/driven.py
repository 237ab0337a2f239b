"""The child's end of a pipe: replies on stdout, an error as one line. See `piped`."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

from crossrun_bench.errors import BenchError

Reply = Callable[[dict[str, Any]], None]


def driven(serve: Callable[[Any, Reply], None]) -> int:
    """Call `serve` with the first line and a way to reply; return 1 if it raises, else 0."""
    replies = _own_stdout()

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    try:
        serve(json.loads(sys.stdin.readline()), reply)
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the parent's to tell
        reply({"error": _one_line(error)})
        return 1
    return 0


def commands() -> Iterator[Any]:
    """The lines that the parent sends after the first, until it closes the pipe."""
    return map(json.loads, sys.stdin)


def _own_stdout() -> IO[str]:
    """The pipe to the parent; from here on, what libraries print goes to stderr."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, BenchError) else f"{type(error).__name__}: {text}"
