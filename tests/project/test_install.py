"""Installing: under which name, on which Python, and what is said where something is missing."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import grpc
import pytest
from packaging.requirements import Requirement

import crossrun_bench.distribution
import crossrun_export.distribution
import crossrun_server.distribution
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun_bench.targets import environments
from crossrun_bench.targets.targets import TARGETS
from crossrun_server.runtime import providers
from tests.support import models
from tests.support.requests import simple
from tests.support.running import ROOT, Command, serving
from tests.support.tracked import text_of, tracked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SYSTEMS = Path(sys.base_prefix) / "bin"  # where the Python lies that this environment was made of
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
INSTALLING = ROOT / "docs" / "installing.md"
# The rows of its table: | `cpu` | … | 3.11 to 3.14 |
FRONT = ROOT / "server" / "front"
WITH_CARGO = "server/front/with-cargo.sh"
LOCKS = ("requirements.lock", "tests/environments/tensorflow-serving-api.txt")
ROW = re.compile(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|.*\| 3\.11 to (3\.\d+) \|$", re.M)
# `crossrun` with an extra, or installed by name: that is somebody else's.
STRANGERS = re.compile(r"(?<![\w-])crossrun\[|install\s+(-\S+\s+)*['\"]?crossrun(?![\w-])")
# Ours by its name alone: an index would be asked for it.
BY_NAME = re.compile(r"install\s+(-\S+\s+)*['\"]?crossrun-inference(\[[\w,-]+\])?+(?! @|[\w-])")
AREAS = (crossrun_server.distribution, crossrun_export.distribution, crossrun_bench.distribution)


# --- The name --------------------------------------------------------------------------------


def test_no_text_tells_anybody_to_install_a_strangers_package() -> None:
    """Neither a document nor a message, nor what is stored of one."""
    files = [path for path in tracked() if path != Path(__file__)]
    if not files:
        pytest.skip("not a checkout: git tells which files there are")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files
        for pattern in (STRANGERS, BY_NAME)
        for match in pattern.finditer(text_of(path))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text", ["pip install crossrun", "pip install -q 'crossrun[cpu]'", "of crossrun[gpu]"]
)
def test_the_old_spelling_would_be_found(text: str) -> None:
    assert STRANGERS.search(text)


def test_installing_by_name_alone_would_be_found() -> None:
    """With a place after it, or as a name in a sentence, it is right."""
    assert BY_NAME.search("pip install 'crossrun-inference[cpu]'")
    assert BY_NAME.search("pip install crossrun-inference")
    assert not BY_NAME.search("pip install 'crossrun-inference[cpu] @ file:///a'")
    assert not BY_NAME.search("install the extra [cpu] of crossrun-inference")


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.__name__)
def test_messages_name_the_installed_distribution(area: ModuleType) -> None:
    """It is the one that the commands came with."""
    commands = importlib.metadata.entry_points(group="console_scripts")
    for name in ("crossrun-serve", "crossrun-export", "crossrun-bench"):
        came_with = commands[name].dist
        assert came_with
        assert came_with.name == area.NAME


def test_messages_name_extras_that_there_are() -> None:
    """Of every provider and target, and of the documents' table, which leaves none out."""
    there = importlib.metadata.metadata(PROJECT["name"]).get_all("Provides-Extra")
    assert there is not None
    named = {*providers.EXTRAS.values(), *environments.EXTRAS.values()}
    named |= {target.extra for target in TARGETS.values()}
    assert named <= set(there)
    assert {extra for extras in by_newest().values() for extra in extras} == set(there)


def by_newest() -> dict[str, list[str]]:
    """The extras in the documents' table, by the newest Python that they are said to install on."""
    found: dict[str, list[str]] = {}
    for names, newest in ROW.findall(INSTALLING.read_text()):
        found.setdefault(newest, []).extend(re.findall(r"`([a-z-]+)`", names))
    return found


def test_the_wheel_is_what_the_documents_install(tmp_path: Path) -> None:
    """It has the name that stands there, and all five packages in it."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    assert f"dist/{wheel.name}[cpu]" in INSTALLING.read_text()
    with zipfile.ZipFile(wheel) as packed:
        top = {name.partition("/")[0] for name in packed.namelist()}
    areas = {"crossrun_export", "crossrun_server", "crossrun_client", "crossrun_bench"}
    assert top == {"crossrun", *areas, f"crossrun_inference-{PROJECT['version']}.dist-info"}


# --- What is missing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [("crossrun-serve", "onnxruntime", "cpu"), ("crossrun-bench", "psutil", "bench")],
)
def test_a_command_without_its_extra_is_one_line(
    command: str, package: str, extra: str, tmp_path: Path, run: Command
) -> None:
    """No traceback, but what is missing and the extra that brings it."""
    hidden = f"raise ModuleNotFoundError('No module', name={package!r})\n"
    (tmp_path / f"{package}.py").write_text(hidden)
    ended = run(command, "--help", env={"PYTHONPATH": str(tmp_path)})
    told = f"needs {package}, which is not installed: install the extra [{extra}]"
    assert ended.returncode == 1
    assert ended.stderr == f"{command}: {told} of crossrun-inference\n"


@pytest.mark.parametrize("area", AREAS[1:], ids=lambda area: area.__name__)
@pytest.mark.parametrize("package", ["tensorflow", "keras.src"])
def test_where_there_is_no_tensorflow_the_python_is_told(
    area: ModuleType, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To install the extra would not help on a Python that its markers leave out."""
    for python in PYTHONS:
        monkeypatch.setattr(sys, "version_info", (*map(int, python.split(".")), 1))
        told = area.missing(package, "export")
        assert ("for Python 3.11 to 3.13 only" in told) == (not brings_tensorflow(python))
        assert "which is not installed" in area.missing("onnx", "export")


def brings_tensorflow(python: str) -> bool:
    lines = map(Requirement, PROJECT["optional-dependencies"]["export"])
    markers = [line.marker for line in lines if line.name.startswith("tensorflow")]
    assert all(markers)
    return any(marker.evaluate({"python_version": python}) for marker in markers if marker)


# --- Each Python -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uv() -> str:
    """The uv that made this environment."""
    found = shutil.which("uv") or shutil.which(ROOT / ".uv/bin/uv")
    if not found:
        pytest.skip("no uv on the PATH or in .uv: `make setup` brings it")
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_the_documents_say_installs_from_wheels(python: str, uv: str) -> None:
    """Every extra of its table, on each Python named there, and what the tests need."""
    newest = [v for v in by_newest() if PYTHONS.index(v) >= PYTHONS.index(python)]
    # On all: TensorFlow's markers leave it out where it has none.
    extras = {"export", *(extra for version in newest for extra in by_newest()[version])}
    options = [f"--extra={extra}" for extra in extras]
    if brings_tensorflow(python):
        options.append("--group=dev")
    resolved = resolve(uv, python, options)
    assert ("tensorflow-cpu" in resolved) == brings_tensorflow(python)
    assert resolved.keys() >= {"onnxruntime", "grpcio", "pillow"}


def resolve(uv: str, python: str, options: list[str]) -> dict[str, str]:
    """The versions of what is installed with these options on x86-64 Linux, none compiled."""
    place = ["--python", sys.executable, "--python-version", python]
    place += ["--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:"]
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", *place, *options]
    ended = subprocess.run(
        [*command, "pyproject.toml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"UV_HTTP_RETRIES": "1"},
    )
    if "Failed to fetch" in ended.stderr:
        pytest.skip(f"the package index cannot be reached: {ended.stderr.splitlines()[0]}")
    assert ended.returncode == 0, ended.stderr
    return dict(line.split("==") for line in ended.stdout.splitlines())


@pytest.fixture
def checkout(tmp_path: Path, uv: str) -> Path:
    """A folder to call make in; beside it `bin`: a python3 of 3.14, a uv that installs nothing."""
    made = tmp_path / "checkout"
    made.mkdir()
    for name in ("Makefile", "pyproject.toml", *LOCKS, WITH_CARGO):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, made / name)
    (tmp_path / "bin").mkdir()
    for name in ("dirname", "find", "mkdir", "rm"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    real, sed = platform.python_version(), shutil.which("sed")
    told = {f"^Python {real}": "Python 3.14.3", f'"{real}"': '"3.14.3"'}  # to a person, to uv
    told[f'"{real.rpartition(".")[0]}"'] = '"3.14"'
    renamed = "; ".join(f"s/{version}/{new}/g" for version, new in told.items())
    for name, script in {
        "python3": f"{SYSTEMS}/python3 \"$@\" | {sed} '{renamed}'",
        "uv": f'[ "$1" = pip ] || exec {uv} "$@"',
        "touch": ': > "$1"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return made


def make_setup(checkout: Path, *path: str) -> subprocess.CompletedProcess[str]:
    """What `make setup` does where the PATH has a python3 of 3.14, and then these folders."""
    found = shutil.which("make")
    if not found:
        pytest.skip("no make")
    searched = os.pathsep.join([str(checkout.parent / "bin"), *path])
    kept = {"PATH": searched, "UV_PYTHON_INSTALL_DIR": str(checkout / "none")}
    left_out = ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.run(
        [found, "setup"],
        capture_output=True,
        text=True,
        check=False,
        cwd=checkout,
        env=inherited | kept,
    )


def test_setup_without_a_python_that_fits_is_one_line(checkout: Path) -> None:
    """It says which Pythons do, and which one it found, before anything is installed."""
    ended = make_setup(checkout)
    line, stopped = ended.stderr.splitlines()
    assert line.startswith(
        "needs Python 3.11, 3.12 or 3.13 for the export and the tests, found Python 3.14.3: "
    )
    assert line.endswith("for the server alone: python3 -m pip install '.[cpu]'")
    assert "Error 1" in stopped
    assert not (checkout / ".venv").exists()


def test_setup_finds_a_python_behind_one_that_is_too_new(checkout: Path) -> None:
    """A python3 of 3.14 that comes first on the PATH is passed over."""
    ended = make_setup(checkout, str(SYSTEMS))
    assert ended.returncode == 0, ended.stderr
    made = (checkout / ".venv/pyvenv.cfg").read_text()
    assert f"version_info = {platform.python_version()}\n" in made
    assert (checkout / ".venv/ready").exists()


# --- The native front end --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cargo", "why"),
    [("", "cargo is not installed"), ("exit 101", "cargo cannot get the crates")],
)
def test_setup_without_the_crates_says_so_in_a_line(checkout: Path, cargo: str, why: str) -> None:
    """And goes on: the server has another front end."""
    if cargo:
        fake = checkout.parent / "bin" / "cargo"
        fake.write_text(f"#!/bin/sh\n{cargo}\n")
        fake.chmod(0o755)
    ended = make_setup(checkout, str(SYSTEMS))
    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stdout.splitlines() if line.startswith("no native front end")]
    assert len(told) == 1
    assert told[0].startswith(f"no native front end here, since {why}")
    assert ": left out " in told[0]


def test_the_wheels_serve_in_a_clean_environment(tmp_path: Path, uv: str) -> None:
    """Nothing of the checkout is needed, and the native front end is taken by itself."""
    native = next(iter((ROOT / "server/front/target/wheels").glob("*.whl")), None)
    if native is None:
        pytest.skip("no wheel of the native front end: make setup builds it where cargo is")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (ours,) = tmp_path.glob("*.whl")
    environment = tmp_path / "environment"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    place = ["--quiet", "--python", environment / "bin/python"]
    install(uv, *place, f"{ours}[cpu]", native)
    models.write(tmp_path / "models", "simple", models.sum_and_difference(), "max_batch_size: 8")
    log = tmp_path / "log"
    with (
        serving(tmp_path / "models", log, environment=environment / "bin") as served,
        grpc.insecure_channel(served.address) as channel,
    ):
        answer = GRPCInferenceServiceStub(channel).ModelInfer(simple(1))
    assert [one.name for one in answer.outputs] == ["OUTPUT0", "OUTPUT1"]
    assert "front end: native" in log.read_text()


def install(uv: str, *words: object) -> None:
    ended = subprocess.run(
        [uv, "pip", "install", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=os.environ | {"UV_HTTP_RETRIES": "1"},
    )
    if "Failed to fetch" in ended.stderr:
        pytest.skip(f"the package index cannot be reached: {ended.stderr.splitlines()[0]}")
    assert ended.returncode == 0, ended.stderr


def test_the_crates_of_the_wheel_have_licences_that_are_allowed() -> None:
    """As server/front/deny.toml says, which `cargo deny` reads, too."""
    allowed = tomllib.loads((FRONT / "deny.toml").read_text())["licenses"]["allow"]
    crates = crates_of_the_wheel()
    assert {"h2", "tokio", "pyo3"} <= crates.keys()
    assert {name: text for name, text in crates.items() if not allows(allowed, text)} == {}
    assert not allows(allowed, "GPL-3.0-only")
    assert not allows(allowed, "MIT AND GPL-3.0-only")
    assert not allows(allowed, "MIT WITH GCC-exception-3.1")


def crates_of_the_wheel() -> dict[str, str]:
    """The licence of each crate that is compiled for it, ours left out."""
    if not shutil.which("cargo"):
        pytest.skip("no cargo")
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    ended = subprocess.run(command, cwd=FRONT, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"cargo cannot tell the crates: {ended.stderr.splitlines()[-1]}")
    told = json.loads(ended.stdout)
    nodes = {node["id"]: node["deps"] for node in told["resolve"]["nodes"]}
    found, left = set[str](), [told["resolve"]["root"]]
    while left:
        found.add(crate := left.pop())
        used = [dep for dep in nodes[crate] if any(k["kind"] != "dev" for k in dep["dep_kinds"])]
        left += [dep["pkg"] for dep in used if dep["pkg"] not in found]
    packages = [package for package in told["packages"] if package["id"] in found]
    return {package["name"]: package["license"] for package in packages if package["source"]}


def allows(allowed: list[str], expression: str) -> bool:
    """Whether a licence expression can be met with these licences alone."""
    licence = r"[\w.-]+(?: WITH [\w.-]+)?"
    words = re.sub(licence, lambda name: verdict(allowed, name[0]), expression.replace("/", " OR "))
    return bool(eval(words, {"__builtins__": {}}))


def verdict(allowed: list[str], word: str) -> str:
    return word.lower() if word in ("AND", "OR") else str(word in allowed)
