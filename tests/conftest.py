"""What several tests use: tiny models, a real server in a child process, real material."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import grpc
import onnx
import pytest

from tests.conformance import options
from tests.support import detectors, models
from tests.support.running import (
    BIN,
    FOR_SERVERS,
    MATERIAL,
    ROOT,
    Command,
    Server,
    interpreter_settings,
    popen,
    run_command,
    run_here,
    serving,
)
from tests.support.workers import made_once, shared_root

if TYPE_CHECKING:
    from crossrun_export.sources import Source


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the conformance suite's options, which a plain `pytest` has to know as well."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest the mark of the longest tests."""
    config.addinivalue_line("markers", "long: begins first, so that no worker ends with it alone")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first; the order of the others stays."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def plans_apart(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Plans that the tests' servers find are kept for all of them, and for them alone."""
    cache = shared_root(pytestconfig, tmp_path_factory) / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield


@pytest.fixture(scope="session", autouse=True)
def bench_forks() -> Iterator[None]:
    """What the bench measures starts without its imports, as `fork_server` says."""
    forking = SimpleNamespace(
        Popen=popen, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("piped", "serving"):
            patch.setattr(f"crossrun_bench.processes.{name}.subprocess", forking)
        yield


@pytest.fixture(scope="session")
def intel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that has OpenVINO's plugin as it is on an Intel processor."""
    site = tmp_path_factory.mktemp("intel")
    info = site / "onnxruntime_ep_openvino-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: onnxruntime-ep-openvino\nVersion: 9.9\n"
    )
    source = ROOT / "tests" / "support" / "intel_plugin.py"
    (site / "onnxruntime_ep_openvino.py").write_bytes(source.read_bytes())
    return site


@pytest.fixture
def on_intel(intel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes find that plugin, on any processor."""
    monkeypatch.setenv("PYTHONPATH", str(intel))
    if interpreter_settings() not in FOR_SERVERS:
        FOR_SERVERS.append(interpreter_settings())


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
    from tests.support import keras_models  # takes seconds: TensorFlow

    return keras_models.small()


@pytest.fixture(scope="session")
def exported_small(
    small: "Source",
    drawings: Path,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A repository of the small model in every precision; to be looked at, not changed."""
    from crossrun_export import pipeline
    from crossrun_export.options import Limits
    from tests.support import keras_models

    any_price = Limits(max_top1_drop=100, min_agreement=0)  # random weights are not robust

    def make(output: Path) -> None:
        pipeline.export(
            small,
            keras_models.options(
                output,
                precisions=("fp32", "int8", "fp16"),
                calibration=drawings,
                limits=any_price,
            ),
        )

    return made_once(pytestconfig, tmp_path_factory, "exported", make)


@pytest.fixture(scope="session")
def exported_detectors(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundled detector in every precision, verified and measured on fewer pictures."""

    def make(output: Path) -> None:
        words = ["detector", "--precision", "fp32,int8,fp16", "--output", str(output)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("crossrun_export.detector.pictures.MANY", 100)
            done = run_here(["crossrun-export", *words])
        assert done.returncode == 0, done.stderr

    return made_once(pytestconfig, tmp_path_factory, "exported-detectors", make)


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
    from tests.support import keras_models

    return keras_models.draw(small, tmp_path_factory.mktemp("drawings"))


@pytest.fixture
def run() -> Command:
    """Run one of the project's commands to its end.

    crossrun and crossrun-bench run in this process, and whatever is measured has processes of its
    own. A suite's steps write to the real stderr, so that it has one. All else is forked off a
    process that has imported it.
    """

    def run_one(
        name: str, *arguments: object, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = [str(BIN / name), *map(str, arguments)]
        here = name == "crossrun" or (name == "crossrun-bench" and arguments[0] != "run")
        if here and env is None:
            return run_here(words)
        return run_command(words, os.environ | (env or {}))

    return run_one


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
