"""Plugins: execution providers in packages of their own, .venv-plugin has one."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest

from crossrun_server.errors import LoadError
from crossrun_server.runtime import plugins, providers
from crossrun_server.runtime.providers import Provider, ProviderRequest
from crossrun_server.runtime.session import Session
from tests.support.placed import (
    CPU,
    OPENVINO,
    config_of,
    infer,
    listing,
    placements,
    refused,
    running,
)
from tests.support.running import BIN, build, serving

X = np.linspace(-1, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
ON = ("openvino", "--provider-option")
BF16 = 'openvino.load_config={"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'


def test_a_plugin_is_found_and_runs_or_says_why(placeable: Path, tmp_path: Path) -> None:
    """onnxruntime-ep-openvino beside plain onnxruntime: devices and nodes, or a reason.

    It has a device on processors of Intel's, and none on others.
    """
    environment = build("plugin")
    text = listing(environment)
    if OPENVINO in text.partition("Installed, cannot run:")[0]:
        options = ("--provider", "openvino")
        with serving(placeable, tmp_path / "log", *options, environment=environment) as server:
            assert OPENVINO in running(placements(server.address)["conv"])
            got = infer(server.address, "conv", X)
        np.testing.assert_allclose(got, on_cpu(placeable), atol=1e-5)
        return
    assert "plugin: onnxruntime-ep-openvino" in text
    line = refused(placeable, "--provider", "openvino", environment=environment)
    assert f"{OPENVINO} cannot run here: onnxruntime-ep-openvino" in line
    assert line.endswith("is installed and found no device that it supports")


def on_cpu(placeable: Path) -> np.ndarray:
    session = Session(placeable / "conv/1/model.onnx", providers.parse("cpu"))
    return session.run({"x": X}, ["y"])["y"].ravel()


@pytest.mark.usefixtures("on_intel")
def test_on_intel_the_plugin_is_listed_as_what_it_is() -> None:
    """Once it has a device onnxruntime lists it among its own; here it stays a plugin that runs."""
    runs, _, rest = listing(BIN).partition("Installed, cannot run:")
    assert f"  openvino       {OPENVINO}       plugin: CPU Intel" in runs
    assert "AUTO" not in runs + rest


@pytest.mark.usefixtures("on_intel")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["openvino"], f"{OPENVINO} (3 nodes, f32)"),
        (["auto"], f"{OPENVINO} (3 nodes, f32)"),
        ([*ON, "openvino.device_type=cpu"], f"{OPENVINO} (3 nodes, f32)"),
        ([*ON, BF16, "--proof-tolerance", "1"], f"{OPENVINO} (3 nodes, bf16 as asked)"),
    ],
)  # fmt: skip
def test_on_intel_the_plugin_computes_in_what_was_proven(
    options: list[str], told: str, placeable: Path, tmp_path: Path
) -> None:
    """By itself it would compute in bf16, and its second entry whatever it is told."""
    with serving(placeable, tmp_path / "log", "--provider", *options) as server:
        placed = placements(server.address)["conv"]
        config = config_of(server.address, "conv")
        got = infer(server.address, "conv", X)
        log = server.log.read_text()
    assert running(placed) == {OPENVINO: 3}
    assert config.parameters["crossrun.running"].string_value == told
    assert f"loaded conv version 1 on {told}" in log
    assert [count.precision for count in placed.running] == [told[:-1].rpartition(", ")[2]]
    assert np.array_equal(got, on_cpu(placeable)) == ("bf16" not in told)


@pytest.mark.usefixtures("on_intel")
@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("device_type=GPU", "ep-openvino 9.9 has no device_type 'GPU' here; it has CPU"),
        ("precision=FP32", "the plugin reads no 'precision', expected load_config with INFERENCE_"),
        ("num_of_threads=2", "reads no 'num_of_threads', expected load_config with INFERENCE_NUM_"),
    ],
)  # fmt: skip
def test_what_a_plugin_would_pass_over_is_refused(
    option: str, expected: str, placeable: Path
) -> None:
    """Options that a build reads, and a device that is not there, end the load in words."""
    assert expected in refused(placeable, "--provider", *ON, f"openvino.{option}")


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
    monkeypatch.setattr(plugins, "built_in", tuple)


@pytest.mark.usefixtures("cpu_as_a_plugin")
def test_a_plugins_device_is_chosen_by_its_type(placeable: Path) -> None:
    """A session is made with the device asked for; one that there is not is named."""
    file = placeable / "conv/1/model.onnx"
    for options in ({}, {"device_type": "cpu"}):
        wanted = ProviderRequest((Provider(CPU, options),))
        assert Session(file, wanted).assignment.nodes == {CPU: 3}
    told = "onnxruntime-ep-cpu 1.0 has no device_type 'NPU' here; it has CPU"
    with pytest.raises(LoadError, match=told):
        Session(file, ProviderRequest((Provider(CPU, {"device_type": "NPU"}),)))


class Kind(NamedTuple):
    name: str


class Hardware(NamedTuple):
    type: Kind


class Device(NamedTuple):
    ep_name: str
    device: Hardware
    ep_metadata: dict[str, str]


def offered(kind: str, called: str = "", entry: str = OPENVINO) -> Device:
    return Device(entry, Hardware(Kind(kind)), {"ov_device": called} if called else {})


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", "CPU"),
        ("cpu", "CPU"),
        ("GPU", "GPU.0"),
        ("gpu.1", "GPU.1"),
        ("NPU", "NPU"),
        ("TPU", None),
    ],
)
def test_of_several_devices_the_type_chooses(
    asked: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU where none is named, whatever onnxruntime lists first; never an entry of `.AUTO`."""
    listed = [
        *(offered(kind, kind, f"{OPENVINO}.AUTO") for kind in ("NPU", "GPU", "CPU")),
        offered("NPU", "NPU"),
        offered("GPU", "GPU.0"),
        offered("GPU", "GPU.1"),
        offered("CPU", "CPU"),
    ]
    monkeypatch.setattr(plugins, "_registered", lambda: {OPENVINO: ("onnxruntime-ep-openvino", "")})
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: listed)
    found = plugins.devices(OPENVINO, asked)
    assert [one.ep_metadata["ov_device"] for one in found[:1]] == ([expected] if expected else [])
    wanted = Provider(OPENVINO, {"device_type": asked} if asked else {})
    assert providers.device(wanted) == (expected or asked).partition(".")[0]


class Part(NamedTuple):
    ep_name: str

    def get_nodes(self) -> list[str]:
        return ["Conv", "Relu"]


def test_nodes_of_a_second_entry_count_for_its_provider(
    placeable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever name a plugin gives the nodes that it computes, they are the provider's."""
    parts = [Part(CPU), Part(f"{CPU}.AUTO")]
    method = "get_provider_graph_assignment_info"
    monkeypatch.setattr(onnxruntime.InferenceSession, method, lambda _: parts)
    session = Session(placeable / "conv/1/model.onnx", providers.parse("cpu"))
    assert session.assignment.nodes == {CPU: 4}


def test_a_build_with_the_provider_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a build and a package both bring it, the build's runs, and none is registered."""
    registered: list[str] = []
    package = SimpleNamespace(get_ep_names=lambda: [OPENVINO], get_library_path=lambda: "/x.so")
    monkeypatch.setattr(plugins, "built_in", lambda: (OPENVINO, CPU))
    monkeypatch.setattr(importlib, "import_module", lambda _: package)
    monkeypatch.setattr(
        onnxruntime, "register_execution_provider_library", lambda *_: registered.append("x")
    )
    assert plugins._register("onnxruntime-ep-openvino", "onnxruntime-ep-openvino 1.8.1") == {}
    assert not registered


def test_a_plugin_that_cannot_be_loaded_is_listed_with_the_reason(fake_plugin: Path) -> None:
    """A broken plugin is named with its version and what is wrong; the others are not harmed."""
    text = listing(BIN, PYTHONPATH=str(fake_plugin))
    assert "fake           FakeExecutionProvider           plugin: onnxruntime-ep-fake 1.2" in text
    assert "/nowhere/libfake.so: cannot open shared object file" in text
    assert CPU in text.partition("Installed, cannot run:")[0]
