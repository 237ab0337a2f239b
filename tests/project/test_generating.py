"""The lines of docs/clients.md that generate stubs, run as they are written."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.running import ROOT

PAGE = (ROOT / "docs" / "clients.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = [
    line
    for block in BLOCKS
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("protoc ")
]
GENERATORS = ROOT / "build" / "examples" / "go" / "generators"  # of `make examples`
PATH = f"{GENERATORS}{os.pathsep}{os.environ['PATH']}"
PLUGINS = {"go": "protoc-gen-go", "go-grpc": "protoc-gen-go-grpc"}  # others name theirs themselves


def outputs(line: str) -> dict[str, str]:
    """The folder of each generator."""
    return dict(re.findall(r"--([\w-]+)_out=(\S+)", line))


def tools(line: str) -> list[str]:
    """What the line needs."""
    found = [PLUGINS[name] for name in outputs(line) if name in PLUGINS]
    return ["protoc", *found, *re.findall(r"--plugin=[\w-]+=(\S+)", line)]


def test_the_page_has_a_line_for_each_language() -> None:
    """Each with a generator of its own; Rust and Node read the files themselves."""
    languages = {"go", "java", "cpp", "csharp", "ruby", "php", "kotlin"}
    assert {name for line in LINES for name in outputs(line)} >= languages


@pytest.mark.parametrize("line", LINES, ids=lambda line: next(iter(outputs(line))))
def test_a_line_generates_stubs(line: str, tmp_path: Path) -> None:
    """Something in each folder that it names, where protoc and the plugins are."""
    missing = [tool for tool in tools(line) if not shutil.which(tool, path=PATH)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{', '.join(missing)} is not installed")
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    folders = [tmp_path / folder for folder in outputs(line).values()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(shlex.split(line), check=True, cwd=tmp_path, env=os.environ | {"PATH": PATH})
    for folder in folders:
        assert [path for path in folder.rglob("*") if path.is_file()]
