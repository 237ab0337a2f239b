"""What a command leaves behind: a file, a table, a document."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossrun_bench import store
from crossrun_bench.cli.app import command
from crossrun_bench.machine import noise
from crossrun_bench.measurements.result import Result
from crossrun_bench.report import terminal
from crossrun_bench.report.chapters import Chapter


def finish(
    measure: Callable[[str], Result],
    output: Path | None,
    as_json: bool,
    require_quiet: bool = False,
) -> None:
    """Measure, then keep the result or show it.

    Raises:
        BenchError: --require-quiet was given, and others used the machine.
    """
    if require_quiet:
        noise.expect_quiet()
    result = measure(command())
    if output:
        store.write(output, result)
    if as_json:
        print_json(store.to_document(result))
    elif output:
        print_line(f"results: {output}")
        terminal.show_warnings(Chapter(result))
    else:
        terminal.show([Chapter(result)])
    if require_quiet:
        kept = f" (results kept, marked as noisy: {output})" if output else ""
        noise.refuse(result.machine.noise, f"while this measured{kept}")


def print_json(document: Any) -> None:
    """One document on stdout."""
    print_line(json.dumps(document))


def print_line(line: str) -> None:
    """One line on stdout."""
    print(line)  # noqa: T201 - the command's own output
