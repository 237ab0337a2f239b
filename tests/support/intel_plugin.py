"""OpenVINO's plugin as it shows itself on an Intel processor with AMX, on any processor.

Goes by the name onnxruntime_ep_openvino on the PYTHONPATH of a child, where it stands in for what
onnxruntime tells once the plugin has found a device (seen with onnxruntime 1.32.0 and
onnxruntime-ep-openvino 1.8.1): the device is listed twice, both entries are among the available
providers from then on, no session takes both, and each computes fp32 in bf16 unless its own
properties in `load_config` say otherwise. The CPU provider computes for it.
"""

import json
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

PLAIN = "OpenVINOExecutionProvider"
AUTO = f"{PLAIN}.AUTO"
ENTRIES = {PLAIN: "CPU", AUTO: "AUTO"}  # → whose properties it reads
REFUSED = "All OrtEpDevice values in ep_devices must have the same execution provider."


class Kind(NamedTuple):
    name: str = "CPU"


class Hardware(NamedTuple):
    type: Kind = Kind()
    vendor: str = "Intel"


class Device(NamedTuple):
    ep_name: str
    device: Hardware
    ep_metadata: dict[str, str]


class Part(NamedTuple):
    """A subgraph under another provider's name."""

    real: Any
    ep_name: str

    def get_nodes(self) -> Any:
        return self.real.get_nodes()


real_available = onnxruntime.get_available_providers
real_devices = onnxruntime.get_ep_devices
real_add_provider = onnxruntime.SessionOptions.add_provider
real_add_devices = onnxruntime.SessionOptions.add_provider_for_devices
found: list[Device] = []
# By the id of session options, which are kept so that no others get it: the entry and its options.
given: dict[int, tuple[Any, str, dict[str, str]]] = {}


def register(package: str, path: str) -> None:
    assert package == "onnxruntime-ep-openvino"
    assert path == get_library_path()
    assert not found, "registered twice"
    found.extend(Device(entry, Hardware(), {"ov_device": "CPU"}) for entry in ENTRIES)


def add_devices(options: Any, devices: Any, settings: dict[str, str]) -> None:
    entries = {device.ep_name for device in devices}
    if not entries & ENTRIES.keys():
        real_add_devices(options, devices, settings)
        return
    if len(entries) > 1:
        raise RuntimeError(REFUSED)
    given[id(options)] = (options, entries.pop(), settings)


def add_provider(options: Any, name: str, settings: dict[str, str]) -> None:
    if name in ENTRIES:
        raise RuntimeError("Provider configuration is not supported.")
    real_add_provider(options, name, settings)


class Session(onnxruntime.InferenceSession):  # type: ignore[misc]  # it has no types
    def __init__(self, model: Any, options: Any, **others: Any) -> None:
        _, self.entry, settings = given.get(id(options), (None, "", {}))
        properties = json.loads(settings.get("load_config", "{}")).get(ENTRIES.get(self.entry), {})
        self.exact = not self.entry or properties.get("INFERENCE_PRECISION_HINT") == "f32"
        super().__init__(model, options, **others)

    def run(self, *asked: Any) -> Any:
        answers = super().run(*asked)
        return answers if self.exact else [as_bf16(answer) for answer in answers]

    def get_provider_graph_assignment_info(self) -> Any:
        parts = super().get_provider_graph_assignment_info()
        return [Part(part, self.entry or part.ep_name) for part in parts]


def as_bf16(answer: Any) -> Any:
    return (answer.view(np.uint32) & 0xFFFF0000).view(np.float32)


def get_library_path() -> str:
    return "libonnxruntime_providers_openvino_plugin.so"


def get_ep_names() -> list[str]:
    return [PLAIN]


onnxruntime.register_execution_provider_library = register
onnxruntime.get_available_providers = lambda: [*real_available(), *(one.ep_name for one in found)]
onnxruntime.get_ep_devices = lambda: [*real_devices(), *found]
onnxruntime.SessionOptions.add_provider = add_provider
onnxruntime.SessionOptions.add_provider_for_devices = add_devices
onnxruntime.InferenceSession = Session
