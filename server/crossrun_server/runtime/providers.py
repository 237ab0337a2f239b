"""Which execution providers there are, and which were asked for. Makes no session."""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import onnxruntime

from crossrun_server.errors import LoadError
from crossrun_server.runtime import openvino_options, plugins

CPU, CUDA, TENSORRT, MIGRAPHX, QNN, COREML, CANN = (
    f"{name}ExecutionProvider"
    for name in ("CPU", "CUDA", "Tensorrt", "MIGraphX", "QNN", "CoreML", "CANN")
)
OPENVINO = openvino_options.PROVIDER
AUTO, FASTEST = "auto", "fastest"

SUFFIX = "ExecutionProvider"  # people type the part before it, in lower case

# What people ask for; a build or a plugin may have others.
KNOWN = tuple(
    name + SUFFIX
    for name in (
        "CPU", "CUDA", "Tensorrt", "NvTensorRTRTX", "OpenVINO", "Dml", "CoreML", "ROCM",
        "MIGraphX", "QNN", "WebGpu", "Xnnpack", "ACL",
    )
)  # fmt: skip
# What `auto` tries, best first: graphics cards, other accelerators, then the CPU.
# TensorRT is left out, because building an engine takes minutes: it has to be asked for by name.
AUTO_ORDER = ("cuda", "migraphx", "rocm", "qnn", "coreml", "dml", "openvino", "cpu")
# The extra that installs a build with a provider in it.
EXTRAS = {
    CPU: "cpu",
    CUDA: "gpu",
    TENSORRT: "gpu",
    OPENVINO: "openvino",
}
# The option that tells a provider what to run on; onnxruntime lists the devices of plugins.
DEVICE_TYPE = "device_type"
NVIDIA = {CUDA, TENSORRT}
# Providers of a build that always run on a graphics card.
ON_CARDS = {
    name + SUFFIX
    for name in ("CUDA", "Tensorrt", "NvTensorRTRTX", "Dml", "ROCM", "MIGraphX", "WebGpu")
}
# The option by which a provider captures runs as CUDA graphs, and the one that chooses a card.
GRAPHS = {CUDA: "enable_cuda_graph", TENSORRT: "trt_cuda_graph_enable"}
DEVICE_ID = "device_id"


@dataclass(frozen=True)
class Provider:
    """One execution provider by onnxruntime's name, with its options."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def captures(self) -> bool:
        """Whether its options tell it to capture its runs as CUDA graphs."""
        return self.options.get(GRAPHS.get(self.name, ""), "").lower() in ("1", "true")


class Rule(StrEnum):
    """How the providers of a request are used."""

    IN_ORDER = "in order"  # each takes the nodes that those before it leave
    FIRST = "first"  # the first that runs, alone
    FASTEST = "fastest"  # the one that answers soonest, alone
    FASTEST_OF = "fastest of"  # the same, and each of them must run


@dataclass(frozen=True)
class ProviderRequest:
    """The providers asked for, in order, and the rule by which they are used."""

    providers: tuple[Provider, ...]
    rule: Rule = Rule.IN_ORDER

    @property
    def alternatives(self) -> tuple[tuple[Provider, ...], ...]:
        """Lists of providers to try, one after the other, until a session loads."""
        if self.rule == Rule.IN_ORDER:
            return tuple(self.providers[i:] for i in range(len(self.providers)))
        return tuple((provider,) for provider in self.providers)

    @property
    def to_measure(self) -> bool:
        """Whether measuring decides which of the providers is used."""
        return self.rule in (Rule.FASTEST, Rule.FASTEST_OF)

    def only(self, name: str) -> "ProviderRequest":
        """Return a request for one of these providers, by onnxruntime's name."""
        return ProviderRequest(tuple(one for one in self.providers if one.name == name))

    def __str__(self) -> str:
        names = ",".join(short(provider.name) for provider in self.providers)
        told = {Rule.FIRST: AUTO, Rule.FASTEST: FASTEST, Rule.FASTEST_OF: f"{FASTEST}:{names}"}
        return told.get(self.rule, names)


def parse(names: str, options: Mapping[str, Mapping[str, str]] | None = None) -> ProviderRequest:
    """Read providers as a person types them: `openvino,cpu`, `auto`, `fastest`, `fastest:cpu,cuda`.

    Args:
        names: short or full names, with commas between them.
        options: provider options by the same names; all values are text, as in onnxruntime.

    Raises:
        LoadError: a name is unknown or given twice, or options are for a provider not named.
    """
    by_name = {full_name(name): dict(given) for name, given in (options or {}).items()}
    if names.strip() == AUTO:
        here = filter(_is_here, map(full_name, AUTO_ORDER))
        return _request(here, by_name, Rule.FIRST)
    if names.strip() == FASTEST:
        return _request(_installed(), by_name, Rule.FASTEST)
    word, among, listed = names.strip().partition(":")
    if among and word == FASTEST:
        return _request(_named(listed, by_name), by_name, Rule.FASTEST_OF)
    return _request(_named(names, by_name), by_name, Rule.IN_ORDER)


def _request(
    found: Iterable[str], options: Mapping[str, Mapping[str, str]], rule: Rule
) -> ProviderRequest:
    return ProviderRequest(tuple(Provider(name, options.get(name, {})) for name in found), rule)


def _named(names: str, options: Mapping[str, object]) -> list[str]:
    """Return the full names of a list of providers."""
    found = [full_name(name.strip()) for name in names.split(",")]
    if len(set(found)) < len(found):
        raise LoadError(f"{names!r} names an execution provider twice")
    if strays := options.keys() - set(found):
        raise LoadError(
            f"there are options for {', '.join(sorted(strays))}, "
            f"but the providers asked for are {names}"
        )
    return found


def parse_options(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read provider options as a person types them, each `PROVIDER.KEY=VALUE`.

    Raises:
        LoadError: an option does not have this form.
    """
    options: dict[str, dict[str, str]] = {}
    for text in texts:
        found = re.fullmatch(r"(\w+)\.([^=]+)=(.*)", text)
        if not found:
            raise LoadError(f"{text!r} is not a provider option; expected PROVIDER.KEY=VALUE")
        options.setdefault(found[1], {})[found[2]] = found[3]
    return options


def full_name(name: str) -> str:
    """Return onnxruntime's name for the name that a person typed.

    Raises:
        LoadError: there is no such provider.
    """
    if not is_known(name):
        known = ", ".join((AUTO, FASTEST, *map(short, KNOWN)))
        raise LoadError(f"there is no execution provider {name!r}; known: {known}")
    return _by_name()[name.lower()]


def is_known(name: str) -> bool:
    """Whether there is a provider of this short or full name, installed or not."""
    return name.lower() in _by_name()


@functools.cache
def _by_name() -> dict[str, str]:
    known = {*KNOWN, *onnxruntime.get_all_providers(), *plugins.names()}
    return {full.lower(): full for full in known} | {short(full): full for full in known}


def short(full: str) -> str:
    """Return the name that people type: `openvino` for OpenVINOExecutionProvider."""
    return full.removesuffix(SUFFIX).lower()


def device(provider: Provider) -> str:
    """Return what a provider runs on: CPU, GPU or NPU, or the value of its option device_type."""
    given = provider.options.get(DEVICE_TYPE, "")
    if provider.name in plugins.names():
        found = plugins.devices(provider.name, given)
        return found[0].device.type.name if found else given
    return "GPU" if provider.name in ON_CARDS else given or "CPU"


def _is_here(name: str) -> bool:
    return name in _installed()


def _installed() -> list[str]:
    """Name the providers of this build and of the plugins, the CPU's first."""
    return sorted({*plugins.built_in(), *plugins.names()}, key=lambda name: (name != CPU, name))
