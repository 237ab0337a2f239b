"""The target of the suite, who is skipped, and the line at the end that says so."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conformance import options
from tests.conformance.http_target import HttpTarget
from tests.conformance.target import Target

FOLDER = Path(__file__).parent
# Our server with all that has to be asked for.
EVERYTHING = (
    "--shared-memory", "--model-control-mode", "explicit", "--load-model", "*",
    "--allow-model-upload",
)  # fmt: skip
TRANSPORTS = {"grpc": pytest.HIDDEN_PARAM, "http": "http"}  # and what a case's name says of each
TARGET = pytest.StashKey[Target]()


@pytest.fixture(scope="session")
def target(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, addresses: Mapping[str, str]
) -> Iterator[Target]:
    """The server under test: --target, or ours on the suite's models."""
    complete = pytestconfig.getoption("target") is None
    target = _connect(pytestconfig, addresses[request.param], complete=complete)
    yield target
    target.close()


@pytest.fixture(scope="session")
def addresses(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    """Where the server under test is, by the transport."""
    address: str | None = pytestconfig.getoption("target")
    if address:
        yield {_transport(address): address}
        return
    from tests.conformance import models
    from tests.support.running import HTTP, serving

    repository = models.write_all(tmp_path_factory.mktemp("conformance"))
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serving(repository, log, *HTTP, *EVERYTHING) as running:
        yield {"grpc": running.address, "http": running.http}


@pytest.fixture(autouse=True)
def _announced(request: pytest.FixtureRequest) -> None:
    """Skip the cases of an extension that the target does not announce."""
    if marker := request.node.get_closest_marker("extension"):
        request.getfixturevalue("target").need_extension(marker.args[0])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each case by every transport of the target."""
    if "target" in metafunc.fixturenames:
        address: str | None = metafunc.config.getoption("target")
        transports = [_transport(address)] if address else list(TRANSPORTS)
        ids = [TRANSPORTS[one] for one in transports]
        metafunc.parametrize("target", transports, ids=ids, indirect=True, scope="session")


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the suite's marker."""
    config.addinivalue_line("markers", "extension(name): runs where the target announces it")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many cases ran, how many were skipped, and why."""
    target = config.stash.get(TARGET, None)
    if target is None:
        return
    ours = {
        outcome: [r for r in reports if getattr(r, "fspath", "").startswith(_prefix(config))]
        for outcome, reports in terminalreporter.stats.items()
        if outcome in ("passed", "failed", "error", "skipped")
    }
    counts = {outcome: len(reports) for outcome, reports in ours.items()}
    terminalreporter.section("conformance")
    terminalreporter.line(
        f"{_name(target)}: {counts.get('passed', 0)} passed, "
        f"{counts.get('failed', 0) + counts.get('error', 0)} failed, "
        f"{counts.get('skipped', 0)} skipped"
    )
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in ours.get("skipped", [])
    )
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"  {count} {reason}")


def _transport(address: str) -> str:
    return "http" if address.startswith("http://") else "grpc"


def _prefix(config: pytest.Config) -> str:
    return FOLDER.relative_to(config.rootpath).as_posix()


def _name(target: Target) -> str:
    said = target.__dict__.get("metadata")
    return f"{said.name} {said.version} at {target.address}" if said else target.address


def _connect(config: pytest.Config, address: str, complete: bool) -> Target:
    kind = HttpTarget if _transport(address) == "http" else Target
    target = kind(address, complete, options.same_host(config, address))
    if not target.answers():
        pytest.exit(f"no server answers at {address}", returncode=pytest.ExitCode.USAGE_ERROR)
    config.stash[TARGET] = target
    return target
