"""Runs the conformance suite once per line of standard input, in a process of its own.

A line is a JSON list of arguments to pytest; the answer is a JSON line of what became of the
cases: {"passed": [names], "failed": [names], "skipped": [names], "summary": text}.
"""

import contextlib
import io
import json
import sys
from collections import defaultdict

import pytest


class Outcomes:
    """A pytest plugin that notes how each case ended."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what is final: the call, or whatever kept it from happening."""
        if report.when == "call" or report.outcome != "passed":
            self.names[report.outcome].append(report.nodeid.partition("::")[2])


def run(arguments: list[str]) -> dict[str, object]:
    """Run the suite once."""
    outcomes, printed = Outcomes(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        pytest.main(["--tb=no", "-p", "no:cacheprovider", *arguments], [outcomes])
    return {**outcomes.names, "summary": printed.getvalue()}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)  # noqa: T201 - the answer
