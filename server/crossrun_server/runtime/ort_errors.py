"""What onnxruntime says when something fails: captured, and put into plain words.

onnxruntime writes the reason why a provider cannot run only to its log, and its log goes to file
descriptor 2.
"""

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from crossrun_server.distribution import the_extra

ERROR = re.compile(r"\[E:onnxruntime:[^\]]*\] (.*)")
MISSING_LIBRARY = re.compile(r"(\S+): cannot open shared object file")
# onnxruntime begins a message with the place in its source.
SOURCE_PLACE = re.compile(r"^.*?/onnxruntime\S*/onnxruntime/\S+:\d+ .*?\)\s+")
# Where a library comes from, by its name before `.so`.
LIBRARY_HINTS = {
    "libcuda": ", which comes with NVIDIA's driver",
    "libnvinfer": ", which comes with TensorRT",
    **dict.fromkeys(
        ("libcublas", "libcublasLt", "libcudart", "libcudnn", "libcufft", "libcurand"),
        f", which {the_extra('gpu')} brings",
    ),
}
_one_at_a_time = threading.Lock()


@contextmanager
def captured() -> Iterator[list[str]]:
    """Collect the errors that onnxruntime logs inside the block.

    The list is filled when the block ends. Whatever else any thread wrote to stderr meanwhile is
    written there afterwards, so nothing is lost.
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


def reason(logged: list[str], failure: Exception) -> str:
    """Say why onnxruntime could not make a provider.

    Args:
        logged: the errors that were captured.
        failure: what it raised.
    """
    for line in logged or [str(failure)]:
        if missing := MISSING_LIBRARY.search(line):
            library = missing[1].rpartition("/")[2]
            hint = LIBRARY_HINTS.get(library.partition(".so")[0], "")
            return f"the library {library} is missing{hint}"
    return plain(logged[0] if logged else str(failure)).removeprefix("[ERROR] ")


def plain(text: str) -> str:
    """Remove line ends, and places in onnxruntime's source, from a message."""
    return SOURCE_PLACE.sub("", " ".join(text.split()))


def _sort(text: str) -> list[str]:
    """Return onnxruntime's own lines of a text, and print the others to stderr."""
    errors = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
        if found := ERROR.search(line):
            errors.append(found[1])
        elif ":onnxruntime:" not in line and line.strip():
            print(line, file=sys.stderr)  # noqa: T201 - it came from there
    return errors
