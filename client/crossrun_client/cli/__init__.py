"""The command line `crossrun`: an error is one line on stderr and exit status 1."""

import signal
import sys

from crossrun_client.cli import operating, pictures
from crossrun_client.cli.app import app
from crossrun_client.errors import ClientError

__all__ = ["app", "main", "operating", "pictures"]


def main() -> None:
    """Run the command line; an error is one line on stderr and exit status 1."""
    # An end by SIGTERM undoes what is half done, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except ClientError as error:
        print(f"crossrun: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        sys.exit(1)
