"""The answers of an accuracy run so far, beside its output, so that it can go on if interrupted.

OUTPUT.partial is a line of JSON that says which run it is, then one for each chunk of pictures. It
is removed once OUTPUT is written. Knows nothing of how answers come about.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError

FORMAT = "crossrun-bench-partial/1"


Said = TypeVar("Said")  # of one picture by one target
Chunk = Sequence[tuple[Said, ...]]  # for each target its answers, the reference's first


class Partial(Generic[Said]):
    """The chunks of a run, each on disk as soon as it is known, in lines of a `kind`.

    `run` is all that has to be the same to go on.
    """

    def __init__(self, output: Path | None, run: dict[str, Any], kind: Callable[..., Any]) -> None:
        """Reads the chunks so far.

        Raises:
            BenchError: the file belongs to another run, or is damaged other than at its end.
        """
        self._kind: Any = kind
        self._path = _beside(output) if output else None
        self._head = {"format": FORMAT, "run": json.loads(json.dumps(run))}
        self.chunks: list[Chunk[Said]] = self._read()

    def append(self, chunk: Chunk[Said]) -> None:
        """Keep another chunk."""
        self.chunks.append(chunk)
        if self._path is None:
            return
        line = asdict(self._kind(tuple(chunk)))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                for document in [line] if file.tell() else [self._head, line]:
                    file.write(json.dumps(document) + "\n")
        except OSError as error:
            raise BenchError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _read(self) -> list[Chunk[Said]]:
        if self._path is None or not self._path.exists():
            return []
        whole, end, cut = self._path.read_bytes().rpartition(b"\n")
        try:
            head, *lines = [json.loads(line) for line in whole.splitlines()] or [self._head]
            self._check(head)
            found: list[Chunk[Said]] = [decode(self._kind, line).answers for line in lines]
        except ValueError as error:
            raise BenchError(f"{self._path}: damaged, remove it: {error}") from error
        if cut:  # while it was written
            self._path.write_bytes(whole + end)
        return found

    def _check(self, head: Any) -> None:
        ours = isinstance(head, dict) and head.get("format") == FORMAT
        found = head["run"] if ours else {}
        other = [key for key, value in self._head["run"].items() if found.get(key) != value]
        if other:
            raise BenchError(
                f"{self._path}: of a run with other {', '.join(other)}; "
                "remove it, or write to another --output"
            )


def remove(output: Path) -> None:
    """Forget the answers so far: `output` has them all."""
    _beside(output).unlink(missing_ok=True)


def _beside(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial")
