"""Which execution providers there are, which were asked for, and how a session gets them.

onnxruntime only warns when a provider cannot run and uses the CPU instead; here a
provider that was asked for runs, or the reason why it cannot is an error.
"""

import contextlib
import functools
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnxruntime

from crossrun_server.distribution import the_extra
from crossrun_server.errors import LoadError
from crossrun_server.runtime import openvino_options, plugins
from crossrun_server.runtime.ort_errors import overheard

CPU, CUDA, TENSORRT, MIGRAPHX, QNN, COREML, CANN = (
    f"{name}ExecutionProvider"
    for name in ("CPU", "CUDA", "Tensorrt", "MIGraphX", "QNN", "CoreML", "CANN")
)
OPENVINO = openvino_options.PROVIDER
AUTO = "auto"

SUFFIX = "ExecutionProvider"  # people type what is before it, in lower case

# What people ask for; a build or a plugin may have others.
KNOWN = tuple(
    name + SUFFIX
    for name in (
        "CPU", "CUDA", "Tensorrt", "NvTensorRTRTX", "OpenVINO", "Dml", "CoreML", "ROCM",
        "MIGraphX", "QNN", "WebGpu", "Xnnpack", "ACL",
    )
)  # fmt: skip
# What `auto` tries, best first: graphics cards, other accelerators, then the CPU.
# TensorRT is left out: it builds an engine for minutes and has to be asked for by name.
AUTO_ORDER = ("cuda", "migraphx", "rocm", "qnn", "coreml", "dml", "openvino", "cpu")
# The extra that brings a build with a provider in it.
EXTRAS = {
    CPU: "cpu",
    CUDA: "gpu",
    TENSORRT: "gpu",
    OPENVINO: "openvino",
}
# The option by which a provider is told what to run on; for plugins onnxruntime lists devices.
DEVICE_TYPE = "device_type"
NVIDIA = {CUDA, TENSORRT}
# Of a build, what always runs on a graphics card.
ON_CARDS = {
    name + SUFFIX
    for name in ("CUDA", "Tensorrt", "NvTensorRTRTX", "Dml", "ROCM", "MIGraphX", "WebGpu")
}
# The option by which a provider captures runs as CUDA graphs, and which card it runs on.
GRAPHS = {CUDA: "enable_cuda_graph", TENSORRT: "trt_cuda_graph_enable"}
DEVICE_ID = "device_id"

# Where a library comes from, by its name before `.so`.
LIBRARY_HINTS = {
    "libcuda": ", which comes with NVIDIA's driver",
    "libnvinfer": ", which comes with TensorRT",
    **dict.fromkeys(
        ("libcublas", "libcublasLt", "libcudart", "libcudnn", "libcufft", "libcurand"),
        f", which {the_extra('gpu')} brings",
    ),
}
MISSING_LIBRARY = re.compile(r"(\S+): cannot open shared object file")
# onnxruntime puts the place in its source before what it says.
SOURCE_PLACE = re.compile(r"^.*?/onnxruntime\S*/onnxruntime/\S+:\d+ .*?\)\s+")


class ProviderUnavailable(LoadError):  # noqa: N818 - named as its family is
    """A provider that was asked for cannot run here; the message says why."""


@dataclass(frozen=True)
class Provider:
    """One execution provider by onnxruntime's name, with the options it is given."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def captures(self) -> bool:
        """Whether it is to capture its runs as CUDA graphs."""
        return self.options.get(GRAPHS.get(self.name, ""), "").lower() in ("1", "true")


@dataclass(frozen=True)
class ProviderRequest:
    """The providers asked for, in order: each takes the nodes that those before it leave.

    With `auto` they are alternatives instead: the first that runs is taken alone.
    """

    providers: tuple[Provider, ...]
    auto: bool = False

    @property
    def alternatives(self) -> tuple[tuple[Provider, ...], ...]:
        """What to try, one after the other, until a session loads."""
        if self.auto:
            return tuple((provider,) for provider in self.providers)
        return tuple(self.providers[i:] for i in range(len(self.providers)))

    def __str__(self) -> str:
        return AUTO if self.auto else ",".join(short(p.name) for p in self.providers)


def parse(names: str, options: Mapping[str, Mapping[str, str]] | None = None) -> ProviderRequest:
    """Read a list of providers as a person types it: `openvino,cpu` or `auto`.

    Args:
        names: short or full names, with commas between them.
        options: provider options by the same names; all values are text, as onnxruntime's.

    Raises:
        LoadError: a name is unknown or given twice, or options are for a provider not named.
    """
    wanted = [name.strip() for name in names.split(",")]
    by_name = {full_name(name): dict(given) for name, given in (options or {}).items()}
    if wanted == [AUTO]:
        found = [name for name in map(full_name, AUTO_ORDER) if _is_here(name)]
    else:
        found = [full_name(name) for name in wanted]
        if len(set(found)) < len(found):
            raise LoadError(f"{names!r} names an execution provider twice")
        if strays := by_name.keys() - set(found):
            raise LoadError(
                f"there are options for {', '.join(sorted(strays))}, "
                f"but the providers asked for are {names}"
            )
    return ProviderRequest(tuple(Provider(n, by_name.get(n, {})) for n in found), wanted == [AUTO])


def parse_options(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read provider options as a person types them, each `PROVIDER.KEY=VALUE`.

    Raises:
        LoadError: one is not of this form.
    """
    options: dict[str, dict[str, str]] = {}
    for text in texts:
        found = re.fullmatch(r"(\w+)\.([^=]+)=(.*)", text)
        if not found:
            raise LoadError(f"{text!r} is no provider option; expected PROVIDER.KEY=VALUE")
        options.setdefault(found[1], {})[found[2]] = found[3]
    return options


def full_name(name: str) -> str:
    """Turn what a person typed into onnxruntime's name.

    Raises:
        LoadError: there is no such provider.
    """
    if not is_known(name):
        known = ", ".join((AUTO, *map(short, KNOWN)))
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
    """Give the name that people type: `openvino` for OpenVINOExecutionProvider."""
    return full.removesuffix(SUFFIX).lower()


def device(provider: Provider) -> str:
    """Name what a provider runs on: CPU, GPU or NPU, or what its option device_type says."""
    given = provider.options.get(DEVICE_TYPE, "")
    if provider.name in plugins.names():
        found = plugins.devices(provider.name, given)
        return found[0].device.type.name if found else given
    return "GPU" if provider.name in ON_CARDS else given or "CPU"


def add(options: onnxruntime.SessionOptions, provider: Provider) -> None:
    """Add a provider to the options of a session that is to be made.

    Raises:
        ProviderUnavailable: it cannot run here.
        LoadError: it does not know one of its options.
    """
    if provider.name in plugins.built_in():
        _add_from_build(options, provider)
    else:
        _add_from_plugin(options, provider)


def _is_here(name: str) -> bool:
    return name in {*plugins.built_in(), *plugins.names()}


def _add_from_build(options: onnxruntime.SessionOptions, provider: Provider) -> None:
    if provider.name == CPU:
        _add_cpu(options, provider.options)
        return
    if provider.name in NVIDIA:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    try:
        with overheard() as said:
            options.add_provider(provider.name, dict(provider.options))
    except Exception as error:  # onnxruntime raises a class of its own per status code
        raise _refusal(provider.name, said, error) from error


def _add_cpu(options: onnxruntime.SessionOptions, given: Mapping[str, str]) -> None:
    """Add what is always there; onnxruntime would pass over any option of it."""
    if given:
        raise LoadError(f"{CPU} takes no options, got {', '.join(sorted(given))}")
    options.add_provider(CPU, {})


def _refusal(name: str, said: list[str], error: Exception) -> LoadError:
    if "EP option" in str(error) or "provider option" in str(error):
        return LoadError(f"{name}: {plain(str(error))}")
    return ProviderUnavailable(f"{name} cannot run here: {_reason(said, error)}")


def _add_from_plugin(options: onnxruntime.SessionOptions, provider: Provider) -> None:
    if provider.name not in plugins.names():
        raise ProviderUnavailable(_not_in_build(provider.name))
    given = dict(provider.options)
    kind = given.pop(DEVICE_TYPE, "")
    if provider.name == OPENVINO:
        openvino_options.check_for_plugin(given)
    devices = plugins.devices(provider.name, kind)
    if not devices:
        reason = plugins.why_no_device(provider.name, kind)
        raise ProviderUnavailable(f"{provider.name} cannot run here: {reason}")
    try:
        options.add_provider_for_devices(devices[:1], given)
    except Exception as error:
        raise LoadError(f"{provider.name}: {plain(str(error))}") from error


def _not_in_build(name: str) -> str:
    hint = f"; install {the_extra(EXTRAS[name])}" if name in EXTRAS else ""
    available = ", ".join(plugins.built_in())
    return f"this build of onnxruntime has no {name} (it has {available}){hint}"


def _reason(said: list[str], failure: Exception) -> str:
    """Say why onnxruntime could not make a provider, from what it wrote to stderr."""
    for line in said or [str(failure)]:
        if missing := MISSING_LIBRARY.search(line):
            library = missing[1].rpartition("/")[2]
            hint = LIBRARY_HINTS.get(library.partition(".so")[0], "")
            return f"the library {library} is missing{hint}"
    return plain(said[0] if said else str(failure)).removeprefix("[ERROR] ")


def plain(text: str) -> str:
    """Take the places in onnxruntime's source and the line ends out of what it says."""
    return SOURCE_PLACE.sub("", " ".join(text.split()))
