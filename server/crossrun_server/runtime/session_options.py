"""The options of a session that is to be made: its threads, and its execution providers.

If a provider cannot run, onnxruntime only warns and uses the CPU. Here the reason is an error.
Knows no model.
"""

import base64
import contextlib
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime

from crossrun_server import cores
from crossrun_server.distribution import the_extra
from crossrun_server.errors import LoadError
from crossrun_server.runtime import openvino_options, ort_errors, plugins
from crossrun_server.runtime.providers import (
    CPU,
    DEVICE_TYPE,
    EXTRAS,
    NVIDIA,
    OPENVINO,
    Provider,
)

VERSION: str = onnxruntime.__version__
# Threads that wait for work spin for a moment, which makes answers sooner. They do not spin for
# long, because that takes the cores from everybody else. Older builds of onnxruntime cannot limit
# the time, so with them threads do not spin.
KNOWS_DURATION = tuple(map(int, VERSION.split(".")[:2])) >= (1, 32)
SPIN = 10  # microseconds, until a plan is measured; onnxruntime's default is a thousand
SPINS = (0, SPIN, 100, 1000) if KNOWS_DURATION else (0,)  # durations that a plan may choose

# MatMulInteger of UINT8 `x` [1, 2] with two weights of 127, INT32 `y` [1, 1].
INT8_PRODUCT = base64.b64decode(
    "CAg6VgoYCgF4CgF3EgF5Ig1NYXRNdWxJbnRlZ2VyEgFnKg0IAggBEANCAXdKAn9/WhMKAXgSDgoMCAISCAoCCAEKAggC"
    "YhMKAXkSDgoMCAYSCAoCCAEKAggBQgQKABAR"
)


class ProviderUnavailable(LoadError):  # noqa: N818 - named as its family is
    """A provider that was asked for cannot run here; the message says why."""


@dataclass(frozen=True)
class Threads:
    """How many threads a session computes with; 0 is one for each core it may use."""

    intra_op: int = 0  # inside one node, including the caller's own
    inter_op: int = 0  # for nodes that run side by side
    spin: int = SPIN  # microseconds that they stay awake for the next work
    cores: tuple[int, ...] = ()  # that they are bound to, the caller's first; empty: to none


def create(threads: Threads) -> onnxruntime.SessionOptions:
    """Make the options of a session without any provider yet."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.intra_op or cores.available()
    options.inter_op_num_threads = threads.inter_op
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(*_spinning(pool, threads.spin))
    options.log_severity_level = 3  # errors: what it warns of is an error here
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if saturates():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def bind(options: onnxruntime.SessionOptions, cores: Sequence[int]) -> None:
    """Bind the threads of a session, but for the caller's, to a core each.

    Linux wakes a thread on the core of the one that wakes it, so the threads of a session that
    begins after a pause share a core until it moves them.
    """
    each = ";".join(str(core + 1) for core in cores[1:])  # onnxruntime counts from one
    options.add_session_config_entry("session.intra_op_thread_affinities", each)


def _spinning(pool: str, microseconds: int) -> tuple[str, str]:
    if KNOWS_DURATION and microseconds:
        return f"session.{pool}.spin_duration_us", str(microseconds)
    return f"session.{pool}.allow_spinning", "0"


@functools.cache
def saturates() -> bool:
    """Whether int8 saturates on this processor: two large products add up to less than they should.

    On x86 without VNNI, onnxruntime's kernels for signed weights add products in 16 bits, which
    are too few, so a model answers wrong. Its kernels for unsigned weights are right everywhere,
    but half as fast. onnxruntime itself is tried, because no list of processors is complete.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        INT8_PRODUCT, options, providers=["CPUExecutionProvider"]
    )
    (answer,) = session.run(["y"], {"x": np.full((1, 2), 255, np.uint8)})
    return int(answer[0, 0]) != 2 * 255 * 127


def add_provider(options: onnxruntime.SessionOptions, provider: Provider) -> None:
    """Add a provider to a session's options.

    Raises:
        ProviderUnavailable: it cannot run here.
        LoadError: it does not know one of its options.
    """
    if provider.name in plugins.built_in():
        _add_from_build(options, provider)
    else:
        _add_from_plugin(options, provider)


def _add_from_build(options: onnxruntime.SessionOptions, provider: Provider) -> None:
    if provider.name == CPU:
        _add_cpu(options, provider.options)
        return
    if provider.name in NVIDIA:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    try:
        with ort_errors.captured() as logged:
            options.add_provider(provider.name, dict(provider.options))
    except Exception as error:  # onnxruntime raises a class of its own per status code
        raise _refusal(provider.name, logged, error) from error


def _add_cpu(options: onnxruntime.SessionOptions, given: Mapping[str, str]) -> None:
    """Add the CPU; onnxruntime would ignore any option of it."""
    if given:
        raise LoadError(f"{CPU} takes no options, got {', '.join(sorted(given))}")
    options.add_provider(CPU, {})


def _refusal(name: str, logged: list[str], error: Exception) -> LoadError:
    if "EP option" in str(error) or "provider option" in str(error):
        return LoadError(f"{name}: {ort_errors.plain(str(error))}")
    return ProviderUnavailable(f"{name} cannot run here: {ort_errors.reason(logged, error)}")


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
        raise LoadError(f"{provider.name}: {ort_errors.plain(str(error))}") from error


def _not_in_build(name: str) -> str:
    hint = f"; install {the_extra(EXTRAS[name])}" if name in EXTRAS else ""
    available = ", ".join(plugins.built_in())
    return f"this build of onnxruntime has no {name} (it has {available}){hint}"
