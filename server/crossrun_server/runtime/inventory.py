"""What this machine and this installation offer: each execution provider, and why it cannot run.

No list says what runs: each provider loads a model of one node.
"""

import base64
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import onnxruntime

from crossrun_server.distribution import the_extra
from crossrun_server.errors import LoadError
from crossrun_server.runtime import plugins, providers
from crossrun_server.runtime.providers import EXTRAS, Provider, ProviderRequest, short
from crossrun_server.runtime.session import Session
from crossrun_server.runtime.session_options import VERSION

Origin = Literal["build", "plugin", "none"]

# One 1 x 1 convolution, FP32 [1, 1, 4, 4]: which every provider can compute.
PROBE = base64.b64decode(
    "CAgSADpjCg8KAXgKAXcSAXkiBENvbnYSAWcqEwgBCAEIAQgBEAEiBAAAAEBCAXdaGwoBeBIW"
    "ChQIARIQCgIIAQoCCAEKAggECgIIBGIbCgF5EhYKFAgBEhAKAggBCgIIAQoCCAQKAggEQgQKABAR"
)


@dataclass(frozen=True)
class ProviderStatus:
    """One execution provider: where it comes from, and whether it runs."""

    name: str  # onnxruntime's
    origin: Origin
    devices: tuple[str, ...]
    reason: str  # why it cannot run here; empty if it can

    @property
    def runs(self) -> bool:
        """Whether a session can be made with it."""
        return not self.reason


def provider_statuses() -> tuple[ProviderStatus, ...]:
    """Try every installed provider; the well-known ones that are not installed come last."""
    installed = [*plugins.built_in(), *sorted(plugins.names())]
    missing = [name for name in providers.KNOWN if name not in installed]
    return tuple(map(status, (*installed, *missing)))


@functools.cache
def status(name: str) -> ProviderStatus:
    """Try a provider, by onnxruntime's name; a process tries it once."""
    try:
        Session(PROBE, ProviderRequest((Provider(name),)))
    except LoadError as error:
        return ProviderStatus(name, _origin(name), (), _without(name, str(error)))
    return ProviderStatus(name, _origin(name), _devices(name), "")


def described(names: Iterable[str]) -> str:
    """Describe providers, their versions and their devices, so that others are told apart."""
    return f"{VERSION}; {[(status(name), plugins.package(name)) for name in names]}"


def _origin(name: str) -> Origin:
    if name in plugins.built_in():
        return "build"
    return "plugin" if name in plugins.names() else "none"


def _without(name: str, reason: str) -> str:
    return reason.removeprefix(f"{name} ").removeprefix("cannot run here: ")


def _devices(name: str) -> tuple[str, ...]:
    """Name the devices that onnxruntime lists, as `CPU AMD`; it lists none of older providers."""
    return tuple(
        f"{device.device.type.name} {device.device.vendor}"
        for device in onnxruntime.get_ep_devices()
        if device.ep_name == name
    )


def lines() -> Iterator[str]:
    """Describe for a terminal what runs here, what cannot run, and what is not installed."""
    statuses = provider_statuses()
    installed = [one for one in statuses if one.origin != "none"]
    yield f"onnxruntime {VERSION}"
    yield from _group("Run here:", (one for one in installed if one.runs))
    yield from _group("Installed, cannot run:", (one for one in installed if not one.runs))
    yield from _group("Not installed:", (one for one in statuses if one.origin == "none"))


def _group(title: str, members: Iterable[ProviderStatus]) -> Iterator[str]:
    rows = [f"  {short(one.name):<14} {one.name:<31} {_remark(one)}".rstrip() for one in members]
    if rows:
        yield from ("", title, *rows)


def _remark(status: ProviderStatus) -> str:
    if status.origin == "none":
        return f"install {the_extra(EXTRAS[status.name])}" if status.name in EXTRAS else ""
    return f"{status.origin}: {', '.join(status.devices) or status.reason}".removesuffix(": ")
