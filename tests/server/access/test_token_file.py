"""The file of tokens: what it may say, what is wrong with it, and that it is read again."""

import queue
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.access import token_file, tokens
from crossrun_server.access.callers import Caller, Scope
from crossrun_server.access.gate import AccessConfig, Gate
from crossrun_server.access.tokens import MOST_VERIFIED, Tokens
from crossrun_server.errors import Forbidden, ServingError, Unauthenticated
from tests.support.access import FOREIGN, bearer, call, entry, write
from tests.support.requests import gather
from tests.support.running import BIN, Command, Server, run_command, serving

INFER = "/inference.GRPCInferenceService/ModelInfer"
HASH = "0" * 64


class Sent:
    """A call with metadata, over a connection whose client has shown a certificate, or none."""

    def __init__(self, *metadata: tuple[str, str | bytes], **names: Iterable[bytes]) -> None:
        self._metadata, self._names = metadata, names

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        return self._metadata

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._names


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def test_a_file_says_who_may_do_what(file: Path) -> None:
    """Tokens by their hash, certificates by their name, and what is open to everybody."""
    write(
        file,
        'open = ["health", "reflection"]\n',
        entry("ci", "infer", models=["mobile*"]),
        '[[certificate]]\nname = "spiffe://here/ci"\nscopes = ["read"]\n',
    )
    known = token_file.read(file)
    assert known.open == {"health", "reflection"}
    (ci,), (certificate,) = known.tokens.values(), known.certificates.values()
    assert ci == Caller(
        kind="token", name="ci", scopes=frozenset({Scope.INFER}), models=("mobile*",)
    )
    assert certificate == Caller(
        kind="certificate", name="spiffe://here/ci", scopes=frozenset({Scope.READ})
    )


TOKEN = f'[[token]]\nname = "a"\nsha256 = "{HASH}"\n'
SCOPED = TOKEN + 'scopes = ["infer"]\n'
WRONG = {
    "no TOML": ("[[token]", "at line 1"),
    "another key": ("tokens = []", "the file has 'tokens', expected certificate, open, token"),
    "no table": ("token = 1", "token is no list of tables, which begin with [[token]]"),
    "one table": ("[token]\nname = 'a'", "token is no list of tables"),
    "no name": ("[[token]]\n", "name is None, expected a text"),
    "an empty name": ('[[token]]\nname = ""', "name is '', expected a text"),
    "a name of two lines": ('[[token]]\nname = "a\\nb"', "expected a text of one line"),
    "no hash": ('[[token]]\nname = "a"\nscopes = ["infer"]', "sha256 of token 'a' is no hash"),
    "half a hash": ('[[token]]\nname = "a"\nscopes = []\nsha256 = "0"', "is no hash of 64 digits"),
    "no scopes": (TOKEN, "scopes is None, expected a list of texts"),
    "a scope as text": (TOKEN + 'scopes = "infer"', "scopes is 'infer', expected a list"),
    "another scope": (TOKEN + 'scopes = ["admin"]', "has 'admin', expected infer, read, control"),
    "a model that is none": (SCOPED + 'models = [""]', "models is [''], expected a list of texts"),
    "a misspelt key": (SCOPED + 'model = ["a"]', "token 'a' has 'model', expected models, name"),
    "a hash twice": (SCOPED + SCOPED.replace('"a"', '"b"'), "token 'b' is there twice"),
    "a name twice": (SCOPED + SCOPED.replace(HASH, "1" * 64), "token 'a' is there twice"),
    "too much open": ('open = ["inference"]', "open has 'inference', expected health, reflection"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_wrong_is_one_line(case: str, file: Path) -> None:
    """It names the file, what was wrong and what was expected."""
    text, expected = WRONG[case]
    write(file, text)
    with pytest.raises(ServingError) as caught:
        token_file.read(file)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"cannot read the tokens of {file}: ")
    assert expected in line


def test_a_server_does_not_start_with_a_wrong_file(three: Path, file: Path, run: Command) -> None:
    """Nor without the file, and as several workers neither."""
    for text, workers in (("[[token]", 1), (None, 2)):
        if text:
            write(file, text)
        else:
            file.unlink()
        ended = run("crossrun-serve", three, "--auth-tokens", file, "--workers", workers)
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"crossrun-serve: cannot read the tokens of {file}: ")
        assert len(ended.stderr.splitlines()) == 1


def test_the_command_makes_a_token(file: Path) -> None:
    """What it prints on stdout is what the file says, and the token itself is not in it."""
    words = ["token", "ci", "--scope", "infer", "--scope", "read", "--model", "mobile*"]
    made = run_command([str(BIN / "crossrun-serve"), *words])
    found = re.fullmatch(r"the token, which is kept nowhere: (\S{43})\n", made.stderr)
    assert found
    assert found[1] not in made.stdout
    (told,) = tomllib.loads(made.stdout)["token"]
    assert (told["name"], told["scopes"], told["models"]) == ("ci", ["infer", "read"], ["mobile*"])
    file.write_text(made.stdout)
    caller = Tokens(file).caller(Sent(*bearer(found[1])))
    assert caller is not None
    assert caller.name == "ci"


def test_the_command_refuses_what_the_file_could_not_say() -> None:
    """In one line, as the file would."""
    words = [str(BIN / "crossrun-serve"), "token", "ci", "--scope", "admin"]
    made = run_command(words)
    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr == (
        "crossrun-serve: cannot make a token: scopes has 'admin', expected infer, read, control\n"
    )


def test_what_was_verified_is_kept_within_bounds(file: Path) -> None:
    """However a client writes its token, and only if it is known."""
    known = Tokens(write(file, entry("a", "infer")))
    for blanks in range(2 * MOST_VERIFIED):
        assert known.caller(Sent(("authorization", f"Bearer {' ' * blanks}a")))
    with pytest.raises(Unauthenticated):
        known.caller(Sent(*bearer(FOREIGN)))
    assert 0 < len(known._known.verified) <= MOST_VERIFIED
    assert all(header.endswith(" a") for header in known._known.verified)


CERTIFIED = (
    '[[certificate]]\nname = "client.example"\nscopes = ["infer"]\nmodels = ["a*"]\n'
    '[[certificate]]\nname = "spiffe://here/ci"\nscopes = ["read"]\n'
)
COMMON, OTHER = "x509_common_name", "x509_subject_alternative_name"


def test_a_certificate_is_a_caller(file: Path) -> None:
    """By its subject's name, or by one of its other names; a token stands before it."""
    config = AccessConfig(tokens=write(file, CERTIFIED, entry("t", "infer")))
    enter = Gate(config, remote=True).entrance(INFER)
    client = enter(Sent(**{COMMON: [b"client.example"]}))
    assert (str(client), client.models) == ("certificate 'client.example'", ("a*",))
    with pytest.raises(Forbidden, match="needs the scope infer; certificate 'spiffe://here/ci'"):
        enter(Sent(**{COMMON: [b"x"], OTHER: [b"y", b"spiffe://here/ci"]}))
    for names in ({COMMON: [b"stranger"]}, {COMMON: [b"client.example\0"]}, {}):
        with pytest.raises(Unauthenticated, match="needs a token"):
            enter(Sent(**names))
    both = Sent(*bearer("t"), **{COMMON: [b"client.example"]})
    assert str(enter(both)) == "token 't'"
    with pytest.raises(Unauthenticated):
        enter(Sent(*bearer(FOREIGN), **{COMMON: [b"client.example"]}))


def damage(file: Path) -> None:
    write(file, "[[token]")


def told(log: Path) -> int:
    """How often the log has told that the file cannot be read."""
    found = re.findall(
        "cannot read the tokens of .*; what it said before still holds", log.read_text()
    )
    return len(found)


def until(true: Callable[[], bool]) -> None:
    """Wait; the test's own limit ends it."""
    while not true():
        pass


@pytest.fixture(params=[1, 2], ids=["alone", "workers"])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def infers(server: Server, token: str) -> bool:
    with grpc.insecure_channel(server.address) as channel:
        code = call(channel, INFER, gather(1), bearer(token))
    assert code in (StatusCode.OK, StatusCode.UNAUTHENTICATED)
    return code == StatusCode.OK


def test_a_file_that_changes_is_read_again(
    front: str, three: Path, file: Path, log_file: Path, workers: int
) -> None:
    """A new token is let in and an old one is not, also in the middle of a stream."""
    write(file, entry("old", "infer"))
    options = ("--auth-tokens", str(file), "--front", front, "--workers", str(workers))
    with serving(three, log_file, *options) as server:
        assert (infers(server, "old"), infers(server, "new")) == (True, False)
        with grpc.insecure_channel(server.address) as channel:
            requests: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
            answers: Any = Stub(channel).ModelStreamInfer(
                iter(requests.get, None), metadata=bearer("old")
            )
            requests.put(gather(1))
            next(answers)
            write(file, entry("new", "infer"))
            with suppress(grpc.RpcError):
                while True:
                    requests.put(gather(1))
                    next(answers)
            assert answers.code() == StatusCode.UNAUTHENTICATED
            requests.put(None)
        until(lambda: infers(server, "new") and not infers(server, "old"))
        assert f"the tokens of {file} have changed" in log_file.read_text()


def test_a_file_that_is_damaged_changes_nothing(three: Path, file: Path, log_file: Path) -> None:
    """What it said before holds, and the log says what is wrong, once; so it is if it is gone."""
    write(file, entry("old", "infer"))
    with serving(three, log_file, "--auth-tokens", str(file)) as server:
        for errors, change in ((1, damage), (2, Path.unlink)):
            change(file)
            until(lambda errors=errors: infers(server, "old") and told(log_file) == errors)  # type: ignore[misc]
        write(file, entry("new", "infer"))
        until(lambda: infers(server, "new"))


def test_a_file_is_looked_at_now_and_then(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each call: that would take longer than all the rest."""
    looks: list[Path] = []
    known = Tokens(write(file, entry("a", "infer")))
    monkeypatch.setattr(tokens, "_stamp", looks.append)
    for _ in range(1000):
        known.caller(Sent(*bearer("a")))
    assert len(looks) < 1000


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_the_hash_is_that_of_the_shell(file: Path) -> None:
    """Who makes tokens with other tools gets the same: printf %s TOKEN | sha256sum."""
    shell = subprocess.run(
        ["sh", "-c", "printf %s some-token | sha256sum"], capture_output=True, text=True, check=True
    )
    text = f'[[token]]\nname = "a"\nscopes = ["infer"]\nsha256 = "{shell.stdout.split()[0]}"\n'
    assert Tokens(write(file, text)).caller(Sent(*bearer("some-token")))
