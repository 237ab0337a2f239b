"""How `crossrun` reaches a server, and the one line that says why it does not."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from crossrun_server.fronts.certificates import Files
from tests.support import access, certificates
from tests.support.running import BIN, Command, Server, serving

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: `roots.pem` and its server's, `own` of a client, `strange.pem` of others."""
    folder = tmp_path_factory.mktemp("files")
    certificates.put(folder, certificates.issued(AUTHORITY), AUTHORITY)
    own = certificates.issued(AUTHORITY, "alice")
    certificates.replace(folder / "own.pem", own.certificate)
    certificates.replace(folder / "own.key", own.key)
    certificates.replace(folder / "strange.pem", STRANGER.cert_pem.bytes())
    return folder


def served(files: Path, *, mutual: bool) -> list[str]:
    named = Files(files / "server.pem", files / "server.key", files / "roots.pem")
    return certificates.options(named, mutual=mutual)


@pytest.fixture(scope="module")
def encrypted(colours: Path, files: Path) -> Iterator[Server]:
    """A server with TLS, which wants a token."""
    tokens = access.write(files / "tokens.toml", access.entry("reader", "read"))
    options = [*served(files, mutual=False), "--auth-tokens", str(tokens)]
    with serving(colours, files / "log", *options) as running:
        yield running


@pytest.fixture(scope="module")
def mutual(colours: Path, files: Path) -> Iterator[Server]:
    """A server that wants certificates of its clients."""
    with serving(colours, files / "log2", *served(files, mutual=True)) as running:
        yield running


def test_files_and_a_token_open_the_door(
    encrypted: Server, mutual: Server, files: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As options, or as variables of the environment."""
    roots = ("--tls-roots", files / "roots.pem")
    own = ("--tls-cert", files / "own.pem", "--tls-key", files / "own.key")
    assert run("crossrun", "models", "--address", mutual.address, *roots, *own).returncode == 0
    at = ("--address", encrypted.address)
    assert run("crossrun", "models", *at, *roots, "--token", "reader").returncode == 0
    for name, value in (
        ("ADDRESS", f"grpcs://{encrypted.address}"),
        ("TLS_ROOTS", str(files / "roots.pem")),
        ("TOKEN", "reader"),
    ):
        monkeypatch.setenv(f"CROSSRUN_{name}", value)
    assert run("crossrun", "status").returncode == 0


def test_each_reason_is_one_line(
    encrypted: Server, mutual: Server, server: Server, files: Path, run: Command
) -> None:
    """That says what to do where something can be done."""
    roots, strange = ("--tls-roots", files / "roots.pem"), ("--tls-roots", files / "strange.pem")
    secret, plain = ("--address", encrypted.address), ("--address", server.address)
    lost = f"cannot connect to {encrypted.address}: "
    for words, told in (
        (("--address", "no.invalid:1"), "cannot connect to no.invalid:1: there is no such host"),
        (secret, f"{lost}it ended the connection; a server with TLS does so: --tls-roots FILE"),
        ((*secret, *strange), f"{lost}its certificate is of no authority that is known here"),
        ((*secret, *roots), "UNAUTHENTICATED: "),
        ((*secret, *roots, "--token", "other"), "UNAUTHENTICATED: "),
        ((*plain, *roots), f"cannot connect to {server.address}: it does not speak TLS"),
        (
            ("--address", mutual.address, *roots),
            f"cannot connect to {mutual.address}: it ended the connection; it may want a "
            "certificate: --tls-cert and --tls-key",
        ),
        ((*secret, "--tls-roots", "none.pem"), "none.pem: cannot be read: No such file"),
        ((*secret, "--tls-key", files / "own.key"), "expected --tls-cert and --tls-key together"),
        (
            ("--address", "192.0.2.1:8001", "--token", "t"),
            "a token can be read on its way to 192.0.2.1:8001: expected TLS",
        ),
    ):
        done = run("crossrun", "models", *words)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), words
        assert done.stderr.startswith(f"crossrun: {told}"), words


def test_what_the_token_may_not_do_is_told(encrypted: Server, files: Path, run: Command) -> None:
    """By the server's words."""
    words = ("--tls-roots", files / "roots.pem", "--token", "reader")
    done = run("crossrun", "unload", "colours", "--address", encrypted.address, *words)
    assert done.returncode == 1
    assert done.stderr.startswith("crossrun: PERMISSION_DENIED: ")


def test_names_of_models_are_completed_from_the_server(server: Server, nowhere: str) -> None:
    """In the shell's own way; where there is no server, nothing is."""

    def completed(address: str, words: str) -> list[str]:
        environment = os.environ | {
            "CROSSRUN_ADDRESS": address,
            "_CROSSRUN_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        done = subprocess.run(
            [BIN / "crossrun"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        return done.stdout.split()

    assert completed(server.address, "crossrun load sim") == ["simple"]
    assert completed(server.address, "crossrun classify --model colour")[0] == "colours"
    assert completed(nowhere, "crossrun load sim") == []


def test_the_real_command_is_quiet_about_what_grpc_logs(nowhere: str) -> None:
    """Its error is one line, too."""
    done = subprocess.run(
        [BIN / "crossrun", "models", "--address", nowhere],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"crossrun: cannot connect to {nowhere}: nobody listens there\n"
