"""Sessions of onnxruntime on one execution provider, and the providers of this environment.

    python -m crossrun_bench.targets.sessions → {"CPUExecutionProvider": "1.32.0", …}

A provider is compiled into the build, or comes in a package beside it, `onnxruntime-ep-NAME`:
https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/. The module needs nothing from
the extra [bench], because it also runs in other environments.
"""

import functools
import json
import platform
import re
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import onnxruntime

from crossrun_bench.errors import BenchError
from crossrun_bench.providers import CPU, Provider
from crossrun_bench.targets.exactness import OPENVINO, check_for_plugin, exact

_PLUGIN = "onnxruntime-ep-"
# Before any plugin is registered: once one has a device, its provider is listed as well.
_BUILT_IN = tuple(onnxruntime.get_available_providers())
_NVIDIA = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}


def available() -> dict[str, str]:
    """The installed providers, each with the version of onnxruntime and of its plugin."""
    build = onnxruntime.__version__
    found = {
        name: f"{build}, {package} {metadata.version(package)}"
        for name, package in _plugins().items()
    }
    return found | dict.fromkeys(_BUILT_IN, build)


def session(file: str, asked: Provider, threads: int = 0) -> Any:
    """A session on the provider asked for, with so many threads on the CPU; 0 is one a core.

    Raises:
        BenchError: the provider cannot run the model here.
    """
    made = options()
    made.intra_op_num_threads = threads
    made.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        _add(made, exact(asked))
        loaded = onnxruntime.InferenceSession(file, made, enable_fallback=0)
    except BenchError:
        raise
    except Exception as error:  # onnxruntime has a class for each status code
        raise BenchError(f"cannot run here: {_plain(error)}") from error
    # OpenVINO's plugin has a second entry for each device, OpenVINOExecutionProvider.AUTO.
    running = {
        part.ep_name.partition(".")[0] for part in loaded.get_provider_graph_assignment_info()
    }
    if asked.name not in running:
        told = ", ".join(sorted(running))
        raise BenchError(f"cannot run here: the provider leaves every node to {told}")
    return loaded


def _plain(error: Exception) -> str:
    """The message in one line, without the place in onnxruntime's source."""
    text = " ".join(str(error).split())
    return re.sub(r"^\S*/onnxruntime/\S+:\d+ .*?\)\s+", "", text)


def options() -> Any:
    """The options of a session whose answers are right on this processor."""
    made = onnxruntime.SessionOptions()
    if _lacks_vnni():
        # Kernels for signed weights saturate there, and answers are wrong. This option selects
        # kernels for unsigned weights, as the server does. Elsewhere it would halve the speed.
        made.add_session_config_entry("session.x64quantprecision", "1")
    return made


def _lacks_vnni() -> bool:
    """Whether this is an x86 CPU without instructions for int8; no if that cannot be read."""
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    information = Path("/proc/cpuinfo")
    return x86 and information.exists() and "vnni" not in information.read_text("utf-8")


def _add(made: Any, asked: Provider) -> None:
    """Add the provider without a fallback; a session's own `providers` would fall back and warn."""
    if asked.name == CPU.name and asked.options:  # onnxruntime would ignore them
        raise BenchError(f"{CPU} takes no options, got {', '.join(asked.options)}")
    if asked.name not in _BUILT_IN:
        _add_plugin(made, asked)
        return
    if asked.name in _NVIDIA:
        onnxruntime.preload_dlls()
    made.add_provider(asked.name, asked.options)


def _add_plugin(made: Any, asked: Provider) -> None:
    """Add one device of a plugin's provider: of the `device_type` asked for, else a CPU if any.

    Never a device of `.AUTO`: it reads other options, and no session takes both.
    """
    package = _plugins().get(asked.name)
    if package is None:
        raise BenchError(f"cannot run here: there is no {asked.name} in this environment")
    _register(package)
    given = dict(asked.options)
    if asked.name == OPENVINO:
        check_for_plugin(given)
    kind = given.pop("device_type", "").upper()
    devices = [
        device
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == asked.name
        and kind in ("", device.device.type.name, device.ep_metadata.get("ov_device"))
    ]
    if not devices:
        raise BenchError(f"cannot run here: {package} found no device that it supports")
    chosen = min(devices, key=lambda device: device.device.type.name != "CPU")
    made.add_provider_for_devices([chosen], given)


@functools.cache
def _register(package: str) -> None:
    library = _module(package).get_library_path()
    onnxruntime.register_execution_provider_library(package, library)


def _plugins() -> dict[str, str]:
    """The package of each provider that is not part of the build."""
    names = {(d.name or "").lower().replace("_", "-") for d in metadata.distributions()}
    packages = sorted(name for name in names if name.startswith(_PLUGIN))
    return {name: package for package in packages for name in _module(package).get_ep_names()}


def _module(package: str) -> Any:
    return import_module(package.replace("-", "_"))


if __name__ == "__main__":
    json.dump(available(), sys.stdout)
