"""Sends what schemathesis makes of the server's own OpenAPI document, right and wrong.

`python -m tests.fuzz.http URL --examples 10000` sends so many to each operation.
"""

import argparse
import sys
import warnings
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
TIMEOUT = 20.0  # seconds for an answer
EXPECTED = (501, 503, 504)  # which only the client's doing leads to


def fuzz(url: str, examples: int) -> int:
    """Send so many requests to each operation; returns how many were answered.

    Raises:
        AssertionError: an answer is not as the document says.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations: Any = schema.get_all_operations()
    return sum([_fuzz(found.ok(), url, examples) for found in operations])


def _fuzz(operation: Any, url: str, examples: int) -> int:
    answered = 0

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def send(case: Any) -> None:
        nonlocal answered
        response = case.call(base_url=url, timeout=TIMEOUT)
        answered += 1
        checks = CHECKS[response.status_code in EXPECTED :]
        case.validate_response(response, checks=checks)

    send()
    return answered


def main() -> None:
    """Send as many as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--examples", type=int, default=1000)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    sys.stdout.write(f"{fuzz(asked.url, asked.examples)} answered as the document says\n")


if __name__ == "__main__":
    main()
