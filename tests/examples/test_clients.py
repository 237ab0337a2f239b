"""The clients in other languages, as `make examples` builds them, against a real server."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import trustme

from crossrun.v1 import vision_pb2, vision_pb2_grpc
from tests.support import access, certificates, classifiers, models
from tests.support.flaky import flaky
from tests.support.pictures import encoded, scene
from tests.support.running import ROOT, Server, serving

# Each with the command that examples/build.sh needs to build it.
LANGUAGES = {
    "go": "go",
    "rust": "cargo",
    "java": "mvn",
    "node": "npm",
    "cpp": "grpc_cpp_plugin",
}
GOLDEN = ROOT / "proto" / "golden"
TOKEN = "a-token-of-the-examples"
LABELS = ["red", "green", "blue", "cyan", "magenta", "golden yellow"]
CONFIG = f"""
max_batch_size: 4
{models.ONE_AT_A_TIME}
output [{{ name: "scores" data_type: TYPE_FP32 dims: [6] label_filename: "labels.txt" }}]
parameters {{ key: "scores" value {{ string_value: "logits" }} }}
"""

Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", params=LANGUAGES)
def client(request: pytest.FixtureRequest) -> Client:
    """Run a program of a language; variables of its environment are keywords."""
    programs = ROOT / "build" / "examples" / request.param
    if not (programs / "built").exists():
        tool = LANGUAGES[request.param]
        if shutil.which(tool) or os.environ.get("CI"):
            pytest.fail(f"`make examples` has built nothing in {programs}")
        pytest.skip(f"{tool} is not installed")

    def run(program: str, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / program, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | variables,
        )

    return run


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One classifier of six classes: each channel, and its opposite."""
    root = tmp_path_factory.mktemp("shades")
    opposite = classifiers.node("Neg", "x", to="opposite")
    both = classifiers.node("Concat", "x", "opposite", axis=1)
    model = classifiers.classifier(opposite, both, width=6)
    models.write(root, "shades", model, CONFIG, labels=LABELS)
    return root


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(repository, tmp_path_factory.mktemp("plain") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def roots() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secured(
    repository: Path, roots: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with TLS that asks for a token."""
    folder = tmp_path_factory.mktemp("secured")
    files = certificates.put(folder, certificates.issued(roots), roots)
    tokens = access.write(folder / "tokens.toml", access.entry(TOKEN, "infer"))
    options = [*certificates.options(files), "--auth-tokens", str(tokens)]
    with serving(repository, folder / "log", *options) as running:
        # By name: Node warns of TLS to a host that is only a number.
        yield replace(running, address=running.address.replace(certificates.HOST, "localhost"))


@pytest.fixture(scope="module")
def trusting(roots: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What tells a client whom to trust."""
    file = tmp_path_factory.mktemp("roots") / "roots.pem"
    roots.cert_pem.write_to_path(str(file))
    return {"CROSSRUN_ROOTS": str(file)}


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "photo.jpg"
    file.write_bytes(encoded(scene(), "JPEG"))
    return file


@pytest.fixture(scope="module")
def best_five(server: Server, photo: Path) -> list[tuple[float, str]]:
    """What our own client says of the photo."""
    request = vision_pb2.ClassifyRequest(images=[photo.read_bytes()], top_k=5)
    with grpc.insecure_channel(server.address) as channel:
        reply = vision_pb2_grpc.VisionStub(channel).Classify(request)
    return [(best.score, best.label) for best in reply.results[0].classes]


def assert_shows(output: str, expected: list[tuple[float, str]]) -> None:
    """The lines SCORE LABEL, in order, each score with four decimals."""
    lines = [line.split(" ", 1) for line in output.splitlines()]
    assert [label for _, label in lines] == [label for _, label in expected]
    assert all(re.fullmatch(r"\d\.\d{4}", score) for score, _ in lines), output
    scores = [score for score, _ in expected]
    assert [float(score) for score, _ in lines] == pytest.approx(scores, abs=1e-3)


def test_a_photo_is_named_as_our_own_client_names_it(
    client: Client, server: Server, photo: Path, best_five: list[tuple[float, str]]
) -> None:
    """The best five of six, best first, with their scores."""
    done = client("classify", server.address, photo)
    assert done.returncode == 0, done.stderr
    assert len(best_five) == 5
    assert_shows(done.stdout, best_five)


def test_an_unknown_model_is_told_in_a_line(client: Client, server: Server, photo: Path) -> None:
    """With its status, and no trace of the program."""
    done = client("classify", server.address, photo, "nobody")
    assert done.returncode == 1
    assert done.stderr.startswith("NOT_FOUND: Request for unknown model: 'nobody'")
    assert len(done.stderr.splitlines()) == 1


def test_a_token_and_tls_let_a_client_in(
    client: Client,
    secured: Server,
    trusting: dict[str, str],
    photo: Path,
    best_five: list[tuple[float, str]],
) -> None:
    """With the authority's certificate and a token the answer is the same."""
    done = client("classify", secured.address, photo, CROSSRUN_TOKEN=TOKEN, **trusting)
    assert done.returncode == 0, done.stderr
    assert_shows(done.stdout, best_five)


def test_without_a_token_a_client_is_told_so(
    client: Client, secured: Server, trusting: dict[str, str], photo: Path
) -> None:
    """TLS alone does not let it in."""
    done = client("classify", secured.address, photo, **trusting)
    assert done.returncode == 1
    assert done.stderr.startswith("UNAUTHENTICATED: ")


def test_a_token_is_not_sent_where_anybody_can_read_it(
    client: Client, server: Server, photo: Path
) -> None:
    """Without TLS the client says so in a line, and asks nothing."""
    done = client("classify", server.address, photo, CROSSRUN_TOKEN=TOKEN)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_the_tour_shows_each_step(client: Client, server: Server) -> None:
    """A watched model, a raw tensor, a deadline, a call given up, one tried again, keepalive."""
    with flaky(refusals=2) as (address, unavailable):
        done = client("tour", server.address, "shades", RETRY_ADDRESS=address)
    assert done.returncode == 0, done.stderr
    watched, tensor, deadline, cancelled, retried, keepalive = done.stdout.splitlines()
    assert watched == "watch: SERVING"
    assert tensor == "tensor: fp32 [1, 6]"
    assert deadline == "deadline: DEADLINE_EXCEEDED"
    assert cancelled == "cancel: CANCELLED"
    assert re.fullmatch(r"retry: OK( after 3 attempts)?", retried)
    assert len(unavailable.calls) == 3
    assert keepalive == "keepalive: 300 s"


def test_golden_messages_are_read_and_written_alike(client: Client) -> None:
    """All of them, byte for byte."""
    done = client("golden", GOLDEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(list(GOLDEN.glob('*.bin')))} messages alike\n"


def test_a_message_that_is_written_differently_is_named(client: Client, tmp_path: Path) -> None:
    """A default value on the wire, which no client writes, fails the comparison."""
    name = "inference.ServerLiveResponse.live"
    (tmp_path / f"{name}.bin").write_bytes(b"\x08\x00")
    shutil.copy(GOLDEN / f"{name}.json", tmp_path)
    done = client("golden", tmp_path)
    assert done.returncode == 1
    assert name in done.stderr
