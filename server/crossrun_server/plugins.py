"""Execution providers that come as packages of their own, beside onnxruntime's build.

Such a package, `onnxruntime-ep-NAME`, holds a library and tells its path and the names of
its providers: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/.
"""

import functools
import importlib
import logging
from importlib import metadata
from typing import Any

import onnxruntime

log = logging.getLogger(__name__)

PREFIX = "onnxruntime-ep-"


def names() -> set[str]:
    """Name the providers that installed packages bring."""
    return set(_registered())


def devices(name: str, kind: str = "") -> list[Any]:
    """List the devices, OrtEpDevice, that a plugin's provider offers on this machine.

    Args:
        name: onnxruntime's name of the provider.
        kind: CPU, GPU or NPU; empty for all.
    """
    if name not in names():
        return []
    return [
        device
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == name and kind.upper() in ("", device.device.type.name)
    ]


def why_no_device(name: str, kind: str = "") -> str:
    """Say why a plugin's provider has no device, or none of a kind."""
    package, failure = _registered()[name]
    if failure:
        return failure
    if others := ", ".join(device.device.type.name for device in devices(name)):
        return f"{package} has no device_type {kind!r} here; it has {others}"
    return f"{package} is installed and found no device that it supports"


@functools.cache
def _registered() -> dict[str, tuple[str, str]]:
    """Register every installed plugin once: provider → (package with its version, failure)."""
    found: dict[str, tuple[str, str]] = {}
    for distribution in metadata.distributions():
        package = (distribution.name or "").lower().replace("_", "-")
        if package.startswith(PREFIX):
            title = f"{package} {distribution.version}"
            for name, failure in _register(package, title).items():
                found[name] = (title, failure)
    return found


def _register(package: str, title: str) -> dict[str, str]:
    """Register one package's library; gives its providers with what went wrong, or ""."""
    try:
        module = importlib.import_module(package.replace("-", "_"))
        provided = list(module.get_ep_names())
    except Exception as error:  # noqa: BLE001 - a broken package must not stop the others
        log.warning("%s is no usable plugin: %s", title, error)
        return {}
    try:
        onnxruntime.register_execution_provider_library(package, module.get_library_path())
    except Exception as error:  # noqa: BLE001 - told where the provider is asked for
        return dict.fromkeys(provided, f"{title} cannot be loaded: {' '.join(str(error).split())}")
    return dict.fromkeys(provided, "")
