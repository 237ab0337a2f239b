"""The examples, run as their first lines say, against a real server."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

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
    named = re.findall(r"\]\((\w+\.\w+)\)", (EXAMPLES / "README.md").read_text())
    there = {path.name for path in tracked("examples") if path.name != "README.md"}
    assert set(named) == there


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
            env=ENVIRONMENT | {"PORT": "0", "MODELS": str(tmp_path / "models")},
        ) as process,
    ):
        try:
            assert process.stdout
            told = iter(process.stdout.readline, "")
            line = next((one for one in told if "serving on" in one), None)
            assert line, (tmp_path / "log").read_text()
            done = example("classify.py", red, "--server", line.split()[-1])
        finally:
            process.kill()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith(" red")


# --- In CI -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first build keeps."""
    file = tmp_path_factory.mktemp("ci") / "kept.json"
    done = example("compare_in_ci.sh", colours, "colours", file)
    assert done.returncode == 0, done.stderr
    return file


def next_build(kept: Path, slower: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script once more, where what is measured is what was kept, the server so much slower."""
    document: Any = json.loads(kept.read_text())
    for target in document["targets"]:
        if target["target"] == "grpc-raw":
            for turn in target["turns"]:
                turn["ns"] = [slower * ns for ns in turn["ns"]]
    (folder / "measured.json").write_text(json.dumps(document))
    shutil.copy(kept, folder / "kept.json")
    real, measured = (
        shlex.quote(str(BIN / "crossrun-bench")),
        shlex.quote(f"{folder}/measured.json"),
    )
    (folder / "crossrun-bench").write_text(
        f'#!/bin/sh\nif [ "$1" = latency ]; then shift 11; cp {measured} "$1"; '
        f'else exec {real} "$@"; fi\n'
    )
    (folder / "crossrun-bench").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return example("compare_in_ci.sh", "models", "colours", folder / "kept.json", PATH=path)


def test_a_build_as_fast_as_the_last_passes(kept: Path, tmp_path: Path) -> None:
    """Its figures are what the next build is compared with."""
    done = next_build(kept, 1, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gRPC server, raw tensor" in done.stdout


def test_a_slower_build_fails(kept: Path, tmp_path: Path) -> None:
    """And what was kept stays, so that the next build is compared with a good one."""
    done = next_build(kept, 3, tmp_path)
    assert done.returncode == 1
    assert "p50 > +10%" in done.stderr
    assert (tmp_path / "kept.json").read_bytes() == kept.read_bytes()
