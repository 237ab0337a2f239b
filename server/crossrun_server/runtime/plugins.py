"""Execution providers that come as packages of their own, beside onnxruntime's build.

Such a package, `onnxruntime-ep-NAME`, holds a library, and says where it is and which providers it
has: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/.
If a build has a provider of the same name, the build's provider is used.
"""

import functools
import importlib
import logging
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import onnxruntime

log = logging.getLogger(__name__)

FOLDERS = "onnxruntime_ep_*.dist-info"


@functools.cache
def built_in() -> tuple[str, ...]:
    """Return the names of the providers that are compiled into onnxruntime.

    Once a plugin has found a device, onnxruntime lists it among them. So it is asked only once,
    before any plugin is registered.
    """
    return tuple(onnxruntime.get_available_providers())


def names() -> set[str]:
    """Return the names of the providers of installed packages that the build does not have."""
    return set(_registered())


def package(name: str) -> str:
    """Return the package of a plugin's provider, with its version; empty for one of the build."""
    return _registered()[name][0] if name in _registered() else ""


def owner(ep_name: str) -> str:
    """Return the provider that one of onnxruntime's entries belongs to.

    OpenVINO's plugin lists its devices twice, the second time as OpenVINOExecutionProvider.AUTO.
    """
    return ep_name.partition(".")[0]


def devices(name: str, kind: str = "") -> list[Any]:
    """List the devices, OrtEpDevice, that a plugin's provider offers on this machine, CPUs first.

    Those of `.AUTO` are left out: it reads other options, and no session accepts both.

    Args:
        name: onnxruntime's name of the provider.
        kind: CPU, GPU or NPU, or OpenVINO's name of a device, such as GPU.1; empty for all.
    """
    if name not in names():
        return []
    offered = [
        device
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == name and kind.upper() in ("", *_called(device))
    ]
    return sorted(offered, key=lambda device: device.device.type.name != "CPU")


def _called(device: Any) -> tuple[str, str]:
    return device.device.type.name, device.ep_metadata.get("ov_device", "")


def why_no_device(name: str, kind: str = "") -> str:
    """Say why a plugin's provider has no device, or no device of a kind."""
    package, failure = _registered()[name]
    if failure:
        return failure
    if others := ", ".join(device.device.type.name for device in devices(name)):
        return f"{package} has no device_type {kind!r} here; it has {others}"
    return f"{package} is installed and found no device that it supports"


@functools.cache
def _registered() -> dict[str, tuple[str, str]]:
    """Register every installed plugin once: provider → (package with its version, failure)."""
    built_in()  # before a plugin changes the list
    found: dict[str, tuple[str, str]] = {}
    for distribution in _installed():
        package = distribution.name.lower().replace("_", "-")
        title = f"{package} {distribution.version}"
        for name, failure in _register(package, title).items():
            found[name] = (title, failure)
    return found


def _installed() -> Iterator[metadata.Distribution]:
    """Find the packages of plugins by the names of their folders.

    To read the metadata of every installed package would take longer than to load a model.
    """
    for entry in sys.path:
        for folder in sorted(Path(entry).glob(FOLDERS)):
            yield metadata.Distribution.at(folder)


def _register(package: str, title: str) -> dict[str, str]:
    """Register one package's library; return its providers with what went wrong, or ""."""
    try:
        module = importlib.import_module(package.replace("-", "_"))
        provided = list(module.get_ep_names())
    except Exception as error:  # noqa: BLE001 - a broken package must not stop the others
        log.warning("%s is not a usable plugin: %s", title, error)
        return {}
    provided = [name for name in provided if name not in built_in()]
    if not provided:
        return {}
    try:
        onnxruntime.register_execution_provider_library(package, module.get_library_path())
    except Exception as error:  # noqa: BLE001 - reported if somebody asks for the provider
        return dict.fromkeys(provided, f"{title} cannot be loaded: {' '.join(str(error).split())}")
    return dict.fromkeys(provided, "")
