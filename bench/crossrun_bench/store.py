"""Results as files: one JSON document each, `crossrun-bench/1`, or several in that of a study.

Knows nothing of how values are measured or shown.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError
from crossrun_bench.files import read_text, write_text
from crossrun_bench.measurements.kinds import KINDS, name_of
from crossrun_bench.measurements.result import Result

FORMAT = "crossrun-bench/1"
_STUDY = "study"  # a document of several results


def to_document(result: Result) -> dict[str, Any]:
    """The JSON document of a result."""
    return {"format": FORMAT, "kind": name_of(result), **asdict(result)}


@dataclass(frozen=True)
class Study:
    """The results of a suite's steps, in their order, with the suite's text."""

    command: str
    suite: str
    results: tuple[Result, ...]


def write_study(path: Path, study: Study) -> None:
    """Write a study's document, which holds those of its results.

    Raises:
        BenchError: the file cannot be written.
    """
    head = {"format": FORMAT, "kind": _STUDY, "command": study.command, "suite": study.suite}
    documents = [to_document(result) for result in study.results]
    write_text(path, json.dumps(head | {"results": documents}) + "\n")


def write(path: Path, result: Result) -> None:
    """Write a result's document.

    Raises:
        BenchError: the file cannot be written.
    """
    write_text(path, json.dumps(to_document(result)) + "\n")


def read(path: Path) -> Result:
    """The result in a file.

    Raises:
        BenchError: the file is not a whole `crossrun-bench/1`, or it is a study.
    """
    return _result(path, _document(path))


def read_all(path: Path) -> list[Result]:
    """The result in a file, or all results of a study.

    Raises:
        BenchError: the file is not a whole `crossrun-bench/1`.
    """
    document = _document(path)
    parts = document.get("results") if document.get("kind") == _STUDY else None
    return [_result(path, part) for part in (parts if isinstance(parts, list) else [document])]


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(path))
    except ValueError as error:
        raise BenchError(f"{path}: damaged, no JSON document: {error}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise BenchError(f"{path}: expected format '{FORMAT}', got {json.dumps(found)}")
    return dict(document)


def _result(path: Path, document: Any) -> Result:
    name = document.get("kind") if isinstance(document, dict) else None
    if name not in KINDS:
        raise BenchError(f"{path}: expected kind {', '.join(KINDS)}, got {name}")
    try:
        result: Result = decode(KINDS[name].result, document)
    except ValueError as error:
        raise BenchError(f"{path}: damaged: {error}") from error
    return result
