"""The examples, run as their first lines say, against a real server."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from crossrun_bench import store
from tests.support.results import latency
from tests.support.running import BIN, ROOT, build, serving
from tests.support.tracked import tracked

EXAMPLES = ROOT / "examples"
ENVIRONMENT = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
EXPLICIT = ("--model-control-mode", "explicit", "--load-model", "*")


def example(name: str, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run one to its end, with the project's commands on the PATH."""
    program = [sys.executable] if name.endswith(".py") else []
    return subprocess.run(
        [*program, EXAMPLES / name, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT | env,
    )


@pytest.fixture
def red(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.fixture(scope="module")
def address(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(colours, tmp_path_factory.mktemp("log") / "server.log") as server:
        yield server.address


def test_the_readme_names_every_example() -> None:
    """None is left out, and none has gone."""
    named = re.findall(r"\]\(([\w.]+)(?:/README\.md)?\)", (EXAMPLES / "README.md").read_text())
    there = {path.relative_to(EXAMPLES).parts[0] for path in tracked("examples")}
    assert set(named) == there - {"README.md"}


@pytest.mark.parametrize("name", ["classify.py", "tritonclient_classify.py"])
def test_pictures_are_named(name: str, address: str, red: Path) -> None:
    """With our stubs and with a stock client alike."""
    done = example(name, red, "--model", "colours", "--server", address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{red}: 100.0% red"


def test_what_is_no_picture_is_told_with_its_status(address: str) -> None:
    """In one line, without a traceback."""
    done = example("classify.py", __file__, "--server", address)
    assert done.returncode == 1
    assert done.stderr.startswith("INVALID_ARGUMENT: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_provider_is_swapped_under_requests(placeable: Path, tmp_path: Path) -> None:
    """It says what ran before and after, and that no request failed."""
    options = ("--provider", "cpu", *EXPLICIT)
    with serving(placeable, tmp_path / "log", *options, environment=build("openvino")) as server:
        done = example("swap_provider.py", "conv", "openvino", "--server", server.address)
    assert done.returncode == 0, done.stderr
    before, after, answered = done.stdout.splitlines()
    assert re.fullmatch(r"before: \d+ nodes on CPUExecutionProvider", before)
    assert re.fullmatch(r"after: \d+ nodes on OpenVINOExecutionProvider", after)
    assert re.fullmatch(r"\d+ requests answered meanwhile, none failed", answered)


def test_a_swap_to_a_provider_that_is_missing_fails(placeable: Path, tmp_path: Path) -> None:
    """The reason is told, and the model goes on where it was."""
    with serving(placeable, tmp_path / "log", "--provider", "cpu", *EXPLICIT) as server:
        missing = example("swap_provider.py", "conv", "cuda", "--server", server.address)
        still = example("swap_provider.py", "conv", "cpu", "--server", server.address)
    assert missing.returncode == 1
    assert "has no CUDAExecutionProvider" in missing.stderr
    assert still.returncode == 0, still.stderr


@pytest.mark.timeout(600)  # TensorFlow twice, on a slow machine
def test_a_model_of_ones_own_is_exported_and_served(red: Path, tmp_path: Path) -> None:
    """One command from a Keras file to a server that answers."""
    from tests.support import keras_models  # takes seconds: TensorFlow

    keras_models.strongest().save(tmp_path / "mine.keras")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    words = [EXAMPLES / "export_and_serve.sh", tmp_path / "mine.keras", "--pixels", "0..1"]
    words += ["--labels", tmp_path / "labels.txt"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            list(map(str, words)),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=ENVIRONMENT | {"PORT": "0", "HTTP_PORT": "0", "MODELS": str(tmp_path / "models")},
            start_new_session=True,  # so that what the shell started ends with it
        ) as process,
    ):
        try:
            assert process.stdout
            told = iter(process.stdout.readline, "")
            line = next((one for one in told if "serving on" in one), None)
            assert line, (tmp_path / "log").read_text()
            done = example("classify.py", red, "--server", line.split()[-1])
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(" red")


# --- In CI -----------------------------------------------------------------------------------


def test_two_repositories_are_measured_and_compared(colours: Path) -> None:
    """The same model twice is held alike, or a host that moved the cores meanwhile is told."""
    done = example("compare_in_ci.sh", colours, colours, "colours", LIMIT="1000000")
    moved = ("put the cores elsewhere", "at least 5 rounds")
    if not any(words in done.stderr for words in moved):
        assert done.returncode == 0, done.stderr
        assert "gRPC server, raw tensor" in done.stdout


@pytest.mark.parametrize(("slower", "status"), [(1, 0), (3, 1)])
def test_a_slower_model_fails_the_build(slower: int, status: int, tmp_path: Path) -> None:
    """By what was measured; here that is made up, for a machine has moods."""
    before, after = tmp_path / "before", tmp_path / "after"
    store.write(before, latency({"onnxruntime": 1.0, "grpc-raw": 2.0}))
    store.write(after, latency({"onnxruntime": 1.0, "grpc-raw": 2.0 * slower}))
    real = shlex.quote(str(BIN / "crossrun-bench"))
    (tmp_path / "crossrun-bench").write_text(
        f'#!/bin/sh\n[ "$1" = latency ] || exec {real} "$@"\ncp "$2" "${{12}}"\n'
    )
    (tmp_path / "crossrun-bench").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = example("compare_in_ci.sh", before, after, "m", PATH=path)
    assert done.returncode == status, done.stderr
    assert "grpc-raw: p50 > +20%" in done.stdout
