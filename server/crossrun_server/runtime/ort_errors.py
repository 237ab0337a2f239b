"""What native libraries write to stderr, overheard.

onnxruntime tells the reason why a provider cannot be had to its log alone, and
its log goes to file descriptor 2.
"""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ERROR = re.compile(r"\[E:onnxruntime:[^\]]*\] (.*)")
_one_at_a_time = threading.Lock()


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Collect the errors that onnxruntime logs inside the block.

    Gives a list that is filled at the end of the block. Whatever else was written to
    stderr meanwhile, by any thread, is written there afterwards: nothing is lost.
    """
    errors: list[str] = []
    if sys.stderr is None:  # started with stderr closed: nothing is written there
        yield errors
        return
    with _one_at_a_time, tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield errors
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            caught.seek(0)
            errors += _sort(caught.read().decode(errors="replace"))


def _sort(text: str) -> list[str]:
    """Take onnxruntime's own lines out of a text and give the rest to stderr."""
    errors = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
        if found := ERROR.search(line):
            errors.append(found[1])
        elif ":onnxruntime:" not in line and line.strip():
            print(line, file=sys.stderr)  # noqa: T201 - it came from there
    return errors
