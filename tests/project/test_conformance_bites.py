"""The conformance suite notices: run against servers that are wrong, the right cases fail."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.support import broken_oip
from tests.support.running import ROOT

SUITE = "tests/conformance"
SERVER = f"{SUITE}/test_core_server.py"
INFER = f"{SUITE}/test_core_infer.py"
DTYPES = f"{SUITE}/test_dtypes.py"
ERRORS = f"{SUITE}/test_errors.py"
PIPELINED = f"{SUITE}/test_connection.py::test_pipelined_requests_do_not_mix"
EXTENSIONS = f"{SUITE}/test_extensions.py"
NOTHING = "nothing"
SILENCE = "silence"
MALFORMED = "test_a_malformed_request_is_refused"
DENORMALS = {
    f"{test}[{datatype}-denormal]"
    for test in ("test_a_raw_value", "test_a_typed_value")
    for datatype in ("FP16", "FP32", "FP64")
} - {"test_a_typed_value[FP16-denormal]"}

# What is wrong with a server → the file of the suite to run, and all the cases in it that fail,
# each with its parameters or, where all or most of them do, without.
FAULTS: dict[str, tuple[str, set[str]]] = {
    "is never ready": (SERVER, {"test_the_server_is_ready"}),
    "lacks ModelMetadata": (
        SERVER,
        {
            "test_metadata_tells_each_datatype",
            "test_metadata_names_every_input_and_output",
            "test_metadata_names_model_and_platform",
            "test_metadata_of_an_unknown_model_is_not_found",
        },
    ),
    "announces what it lacks": (
        EXTENSIONS,
        {"test_an_rpc_answers_as_announced[ModelStatistics]"},
    ),
    "swaps outputs": (
        INFER,
        {
            "test_several_inputs_and_outputs",
            "test_inputs_in_another_order",
            "test_only_the_outputs_asked_for",
            "test_outputs_in_another_order",
            "test_each_batch",
        },
    ),
    "forgets ids": (INFER, {"test_the_id_comes_back"}),
    "sends every output": (
        INFER,
        {
            "test_only_the_outputs_asked_for[asked0]",
            "test_only_the_outputs_asked_for[asked1]",
        },
    ),
    "reverses rows": (
        DTYPES,
        {"test_raw_values_in_rows", "test_typed_values_in_rows"},
    ),
    "flushes denormals": (
        DTYPES,
        DENORMALS
        | {f"test_raw_values_in_rows[{name}]" for name in ("FP16", "FP32", "FP64")}
        | {f"test_typed_values_in_rows[{name}]" for name in ("FP32", "FP64")},
    ),
    "cuts strings at NUL": (
        DTYPES,
        {
            "test_a_raw_value[BYTES-nul]",
            "test_a_typed_value[BYTES-nul]",
            "test_raw_values_in_rows[BYTES]",
            "test_typed_values_in_rows[BYTES]",
        },
    ),
    "takes any number of bytes": (
        ERRORS,
        {
            f"{MALFORMED}[{case}]"
            for case in ("too few bytes", "too many bytes", "half an element", "no bytes")
        }
        | {"test_many_refusals_in_a_row"},
    ),
    "takes any version": (
        ERRORS,
        {f"{MALFORMED}[unknown version]", f"{MALFORMED}[version that is no number]"},
    ),
    "calls every error INTERNAL": (
        ERRORS,
        {MALFORMED, "test_many_refusals_in_a_row", "test_a_good_request_beside_bad_ones"},
    ),
    "does not say what was wrong": (ERRORS, {MALFORMED}),
    "does not get over a bad request": (
        ERRORS,
        {
            MALFORMED,
            "test_many_refusals_in_a_row",
            "test_a_good_request_beside_bad_ones",
            "test_bytes_that_are_no_message",
            "test_an_rpc_that_does_not_exist",
        },
    ),
    "mixes requests up": (PIPELINED, {"test_pipelined_requests_do_not_mix"}),
}


@dataclass(frozen=True)
class Outcome:
    """How the cases of one run ended, by name, and what pytest printed."""

    summary: str
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def failures(self, expected: set[str]) -> set[str]:
        """Name the failed cases; those expected without parameters are named without."""
        return {name if name in expected else name.partition("[")[0] for name in self.failed}


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """The suite's outcome for each fault, for none, and for an address without a server.

    One child process runs them all, as importing takes it longer than most runs.
    """
    files = {NOTHING: SUITE} | {fault: file for fault, (file, _) in FAULTS.items()}
    with broken_oip.running(list(files)) as addresses, silent_address() as silent:
        orders = [[files[fault], "--target", addresses[fault]] for fault in files]
        orders.append([SUITE, "--target", silent])
        child = subprocess.run(
            [sys.executable, "-m", "tests.support.conformance_child"],
            input="\n".join(map(json.dumps, orders)),
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
    answers = [Outcome(**json.loads(line)) for line in child.stdout.splitlines()]
    return dict(zip([*files, SILENCE], answers, strict=True))


@contextmanager
def silent_address() -> Iterator[str]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_a_server_without_fault_passes(outcomes: dict[str, Outcome]) -> None:
    """Nothing fails of what a right server serves."""
    found = outcomes[NOTHING]
    assert found.failed == []
    assert len(found.passed) > 250


def test_what_a_server_lacks_is_skipped_and_told(outcomes: dict[str, Outcome]) -> None:
    """A model or an extension that is not there skips cases, counted by reason at the end."""
    found = outcomes[NOTHING]
    assert "test_a_version_can_be_chosen[1]" in found.skipped
    passed, skipped = len(found.passed), len(found.skipped)
    assert "broken 1 at 127.0.0.1:" in found.summary
    assert f": {passed} passed, 0 failed, {skipped} skipped\n" in found.summary
    assert "  2 the target does not serve oip_slow\n" in found.summary
    assert "the target does not announce statistics\n" in found.summary


def test_without_a_server_the_run_ends_at_once(outcomes: dict[str, Outcome]) -> None:
    """An address where nobody listens is one line, not a failure of every case."""
    found = outcomes[SILENCE]
    assert "no server answers at 127.0.0.1:" in found.summary
    assert found.passed == found.failed == found.skipped == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(outcomes: dict[str, Outcome], fault: str) -> None:
    """A server with a fault fails the cases that are about it, and no others."""
    expected = FAULTS[fault][1]
    assert outcomes[fault].failures(expected) == expected


def test_the_documents_say_how_many_cases_there_are() -> None:
    """The number that they speak of is what pytest collects."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", SUITE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    count = ended.stdout.splitlines()[-1].partition(" ")[0]
    assert count.isdecimal()
    assert f"of {count} conformance cases" in (ROOT / "README.md").read_text()
    assert f"Of its {count} cases" in (ROOT / SUITE / "README.md").read_text()
