"""What several tests use: tiny models, a real server in a child process, real material."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import onnx
import pytest

from crossrun_server.models.opening import Shared
from crossrun_server.runtime import providers
from tests import detectors, models
from tests.conformance import options

if TYPE_CHECKING:
    from crossrun_export.sources import Source

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
MATERIAL = ROOT.parent / "shared"
ON_CPU = Shared(providers.parse("cpu"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the conformance suite's options, which a plain `pytest` has to know as well."""
    options.add(parser)


@dataclass(frozen=True)
class Server:
    """A running crossrun-serve."""

    address: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def metrics(self) -> str:
        """The URL of its metrics."""
        found = re.search(r"metrics on (\S+)", self.log.read_text())
        assert found, "it serves no metrics"
        return found[1]

    def stop(self) -> int:
        """End it as an operator would; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(
    repository: Path, log: Path, *options: str, environment: Path = BIN
) -> Iterator[Server]:
    """Run crossrun-serve on a port of its choice until the block ends."""
    command = [str(environment / "crossrun-serve"), str(repository), "--port", "0"]
    command += ["--metrics-port", "0", *options]
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.fullmatch(r"crossrun: serving on (\S+)\n", line)
            assert found, f"the server said {line!r} and logged: {log.read_text()}"
            yield Server(found[1], process, log)
        finally:
            process.kill()


@pytest.fixture(scope="session", autouse=True)
def plans_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Plans that the tests' servers find are kept for them alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def build(name: str) -> Path:
    """The commands of an environment with another build of onnxruntime: `make test` makes it."""
    found = ROOT / f".venv-{name}" / "bin"
    if not (found / "crossrun-serve").exists():
        pytest.skip(f"no environment in {found.parent}; make .venv-{name}/ready makes it")
    return found


@pytest.fixture
def on_intel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes find OpenVINO's plugin as it is on an Intel processor, on any."""
    site = tmp_path / "intel"
    info = site / "onnxruntime_ep_openvino-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: onnxruntime-ep-openvino\nVersion: 9.9\n"
    )
    source = ROOT / "tests" / "intel_plugin.py"
    (site / "onnxruntime_ep_openvino.py").write_bytes(source.read_bytes())
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of tiny models, one per behaviour."""
    return models.write_all(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the tiny models, shared by all tests that leave it running."""
    with serving(tiny_models, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as open_channel:
        yield open_channel


@pytest.fixture(scope="session")
def detecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of tiny detectors, shared likewise."""
    root = detectors.write_all(tmp_path_factory.mktemp("detectors"))
    with serving(root, tmp_path_factory.mktemp("log") / "server.log") as running:
        yield running


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`simple` and `gather`."""
    root = tmp_path_factory.mktemp("two")
    models.write(root, "simple", models.sum_and_difference(), "max_batch_size: 8")
    models.write(root, "gather", models.gather(), "max_batch_size: 8")
    return root


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """Where the server of one test logs."""
    return tmp_path / "log"


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model that names colours, to measure, without its Keras source."""
    root = tmp_path_factory.mktemp("bench")
    model = models.colours()
    preprocessing = json.dumps({"scale": 1 / 255, "offset": 0.0})
    meta = {"crossrun.preprocessing": preprocessing, "crossrun.source": '{"model": "colours"}'}
    onnx.helper.set_model_props(model, meta)
    models.write(root, "colours", model, models.COLOURS_CONFIG, labels=["red", "green", "blue"])
    return root


@pytest.fixture(scope="session")
def small() -> "Source":
    """A Keras MobileNet of four classes with random weights, to export."""
    from tests import keras_models  # takes seconds: TensorFlow

    return keras_models.small()


@pytest.fixture(scope="session")
def exported_detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled detector in every precision."""
    root = tmp_path_factory.mktemp("detectors")
    words = ["detector", "--precision", "fp32,int8,fp16", "--output", str(root)]
    done = run_here(["crossrun-export", *words])
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def placeable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`conv`, which every provider computes, and `determinant`, half of which is the CPU's."""
    root = tmp_path_factory.mktemp("providers")
    models.write(root, "conv", models.conv(), "max_batch_size: 4")
    models.write(root, "determinant", models.determinant(), "max_batch_size: 4")
    return root


@pytest.fixture(scope="session")
def drawings(small: "Source", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures for it, LABEL/N.png, 34 of each label."""
    from tests import keras_models

    return keras_models.draw(small, tmp_path_factory.mktemp("drawings"))


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run() -> Command:
    """Run one of the project's commands to its end.

    crossrun-bench runs in this process, for its start would be half of a test's time; whatever it
    measures has processes of its own. A suite's steps write to the real stderr, so that it has one.
    """

    def run_command(
        name: str, *arguments: object, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = [str(BIN / name), *map(str, arguments)]
        if name == "crossrun-bench" and arguments[0] != "run" and env is None:
            return run_here(words)
        return subprocess.run(
            words, capture_output=True, text=True, check=False, env=os.environ | (env or {})
        )

    return run_command


def run_here(words: list[str]) -> subprocess.CompletedProcess[str]:
    """crossrun-bench or crossrun-export in this process."""
    package = Path(words[0]).name.replace("-", "_")
    main = import_module(f"{package}.cli").main
    out, err, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    status: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
            if isinstance(status, str):  # what Python itself does with a text
                print(status, file=err)
                status = 1
        finally:
            signal.signal(signal.SIGTERM, handler)
    assert isinstance(status, int)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def keras_home() -> str:
    """The folder of Keras's ImageNet weights, for KERAS_HOME."""
    folder = MATERIAL / "keras-home"
    if not (folder / "models" / "mobilenet_1_0_224_tf.h5").exists():
        pytest.skip(f"no ImageNet weights in {folder}")
    return str(folder)


@pytest.fixture(scope="session")
def photographs() -> Path:
    """A folder of labelled photographs, WNID/*.JPEG."""
    folder = MATERIAL / "images"
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}")
    return folder
