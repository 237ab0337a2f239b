"""The command line `crossrun-bench`: its errors are one line on stderr and exit status 1."""

import signal
import sys

from crossrun_bench.cli import measuring, showing
from crossrun_bench.cli.app import app
from crossrun_bench.errors import BenchError

__all__ = ["app", "main", "measuring", "showing"]


def main() -> None:
    """Run the command line; an error is one line on stderr and exit status 1."""
    # An end by SIGTERM leaves every `with` too, so that no server stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except BenchError as error:
        print(f"crossrun-bench: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        sys.exit(1)
