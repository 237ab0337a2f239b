"""Plugins: execution providers in packages of their own, .venv-plugin has one."""

from pathlib import Path

import onnxruntime
import pytest

from crossrun_server import plugins
from crossrun_server.errors import LoadError
from crossrun_server.providers import Provider, Request
from crossrun_server.session import Session
from tests.conftest import BIN, build, serving
from tests.placed import (
    CPU,
    OPENVINO,
    listing,
    placements,
    refused,
    running,
)


def test_a_plugin_is_found_and_runs_or_says_why(placeable: Path, tmp_path: Path) -> None:
    """onnxruntime-ep-openvino beside plain onnxruntime: devices and nodes, or a reason."""
    environment = build("plugin")
    text = listing(environment)
    if OPENVINO in text.partition("Installed, cannot run:")[0]:
        options = ("--provider", "openvino")
        with serving(placeable, tmp_path / "log", *options, environment=environment) as server:
            assert OPENVINO in running(placements(server.address)["conv"])
        return
    assert "plugin: onnxruntime-ep-openvino" in text
    line = refused(placeable, "--provider", "openvino", environment=environment)
    assert f"{OPENVINO} cannot run here: onnxruntime-ep-openvino" in line
    assert line.endswith("is installed and found no device that it supports")


@pytest.fixture
def fake_plugin(tmp_path: Path) -> Path:
    """A package that calls itself a plugin and whose library is not there."""
    package = tmp_path / "site" / "onnxruntime_ep_fake"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "def get_library_path(): return '/nowhere/libfake.so'\n"
        "def get_ep_names(): return ['FakeExecutionProvider']\n"
    )
    info = tmp_path / "site" / "onnxruntime_ep_fake-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: onnxruntime-ep-fake\nVersion: 1.2\n"
    )
    return package.parent


@pytest.fixture
def cpu_as_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU provider, whose device onnxruntime lists as it lists those of plugins."""
    monkeypatch.setattr(plugins, "_registered", lambda: {CPU: ("onnxruntime-ep-cpu 1.0", "")})
    monkeypatch.setattr(onnxruntime, "get_available_providers", list)


@pytest.mark.usefixtures("cpu_as_a_plugin")
def test_a_plugins_device_is_chosen_by_its_type(placeable: Path) -> None:
    """A session is made with the device asked for; one that there is not is named."""
    file = placeable / "conv/1/model.onnx"
    for options in ({}, {"device_type": "cpu"}):
        wanted = Request((Provider(CPU, options),))
        assert Session(file, wanted).assignment.nodes == {CPU: 3}
    told = "onnxruntime-ep-cpu 1.0 has no device_type 'NPU' here; it has CPU"
    with pytest.raises(LoadError, match=told):
        Session(file, Request((Provider(CPU, {"device_type": "NPU"}),)))


def test_a_plugin_that_cannot_be_loaded_is_listed_with_the_reason(fake_plugin: Path) -> None:
    """A broken plugin is named with its version and what is wrong; the others are not harmed."""
    text = listing(BIN, PYTHONPATH=str(fake_plugin))
    assert "fake           FakeExecutionProvider           plugin: onnxruntime-ep-fake 1.2" in text
    assert "/nowhere/libfake.so: cannot open shared object file" in text
    assert CPU in text.partition("Installed, cannot run:")[0]
