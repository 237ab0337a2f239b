"""What this machine and this installation offer: each execution provider, with its devices
or with the reason why it cannot run.

Nothing is taken from a list: each provider is given a model of one node to load.
"""

import base64
import functools
from dataclasses import dataclass
from typing import Literal

import onnxruntime

from crossrun_server.errors import LoadError
from crossrun_server.runtime import plugins, providers
from crossrun_server.runtime.providers import Provider, ProviderRequest
from crossrun_server.runtime.session import Session

Origin = Literal["build", "plugin", "none"]

# One 1 x 1 convolution, FP32 [1, 1, 4, 4]: what every provider that is worth its name computes.
PROBE = base64.b64decode(
    "CAgSADpjCg8KAXgKAXcSAXkiBENvbnYSAWcqEwgBCAEIAQgBEAEiBAAAAEBCAXdaGwoBeBIW"
    "ChQIARIQCgIIAQoCCAEKAggECgIIBGIbCgF5EhYKFAgBEhAKAggBCgIIAQoCCAQKAggEQgQKABAR"
)


@dataclass(frozen=True)
class ProviderStatus:
    """One execution provider as found."""

    name: str  # onnxruntime's
    origin: Origin
    devices: tuple[str, ...]
    reason: str  # why it cannot run here; empty where it can

    @property
    def runs(self) -> bool:
        """Whether a session can be made with it."""
        return not self.reason


@functools.cache
def provider_statuses() -> tuple[ProviderStatus, ...]:
    """Try every provider that is installed, then list what people ask for and is not."""
    build = plugins.built_in()
    installed = [*build, *sorted(plugins.names())]
    missing = [name for name in providers.KNOWN if name not in installed]
    return (
        *(_look(name, "build" if name in build else "plugin") for name in installed),
        *(_look(name, "none") for name in missing),
    )


def _look(name: str, origin: Origin) -> ProviderStatus:
    try:
        Session(PROBE, ProviderRequest((Provider(name),)))
    except LoadError as error:
        return ProviderStatus(name, origin, (), _without(name, str(error)))
    return ProviderStatus(name, origin, _devices(name), "")


def _without(name: str, reason: str) -> str:
    return reason.removeprefix(f"{name} ").removeprefix("cannot run here: ")


def _devices(name: str) -> tuple[str, ...]:
    """Name the devices that onnxruntime tells of, as `CPU AMD`; older providers tell of none."""
    return tuple(
        f"{device.device.type.name} {device.device.vendor}"
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == name
    )


def onnxruntime_version() -> str:
    """The version of onnxruntime that runs."""
    return str(onnxruntime.__version__)
