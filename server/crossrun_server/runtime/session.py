"""One onnxruntime session: load, describe, run. Knows nothing of requests, batches or the wire."""

import ctypes
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime

from crossrun_server import cores
from crossrun_server.errors import LoadError, NotSupported
from crossrun_server.runtime import defaults, plugins, providers
from crossrun_server.runtime.assignment import assigned
from crossrun_server.runtime.binding import BoundSession
from crossrun_server.runtime.providers import (
    CPU,
    DEVICE_ID,
    Provider,
    ProviderRequest,
    ProviderUnavailable,
)
from crossrun_server.runtime.saturation import saturates
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

# onnxruntime's name of an element type → the Open Inference Protocol's.
DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}
BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16
UNBOUND = {"BF16", "BYTES"}  # what numpy lacks, and what lies on no device
REDUCED = re.compile(r"QuantizeLinear$|^QLinear|Integer$|MatMulNBits$")  # types of nodes
HALVED = re.compile(r"graph_(in|out)put_cast")  # what converters to fp16 name their casts
VERSION: str = onnxruntime.__version__
# Threads that wait for work spin for a moment, which answers sooner, and no longer, for then they
# take the cores from everybody else. Builds of onnxruntime that know no such moment do not spin.
KNOWS_DURATION = tuple(map(int, VERSION.split(".")[:2])) >= (1, 32)
SPIN = 10  # microseconds, where nothing was measured; by default onnxruntime spins for a thousand
SPINS = (0, SPIN, 100, 1000) if KNOWS_DURATION else (0,)  # worth to be measured


@dataclass(frozen=True)
class Threads:
    """How many threads a session computes with; 0 is one for each core it may use."""

    intra_op: int = 0  # inside one node, the caller's own among them
    inter_op: int = 0  # of nodes beside each other
    spin: int = SPIN  # microseconds that they stay awake for the next work


def _bound(
    session: onnxruntime.InferenceSession, running: Iterable[Provider], datatypes: set[str]
) -> BoundSession | None:
    """Give what runs a session whose provider captures CUDA graphs; None for all others."""
    capturing = next((provider for provider in running if provider.captures), None)
    if capturing is None:
        return None
    if unfit := datatypes & UNBOUND:
        raise LoadError(f"CUDA graphs take no tensors of {', '.join(sorted(unfit))}")
    return BoundSession(session, *_device(capturing))


def _device(provider: Provider) -> tuple[str, int]:
    """Where the buffers of a provider that captures graphs lie, as OrtValue names it."""
    return "cuda", int(provider.options.get(DEVICE_ID, "0"))


class Session:
    """A loaded ONNX model on the execution providers that were asked for.

    Args:
        model: the file, or its bytes.
        request: the providers, in order.
        threads: how many threads it computes with.

    Raises:
        LoadError: the model cannot be used, or no provider that was asked for runs it.
    """

    def __init__(
        self, model: Path | bytes, request: ProviderRequest, threads: Threads | None = None
    ) -> None:
        self.request = request
        self._session, skipped = _open(model, request, threads or Threads())
        self.assignment = assigned(request, _nodes(self._session), skipped)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self.overridable = tuple(_overridable(self._session))
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        datatypes = {spec.datatype for spec in (*self.inputs, *self.overridable, *self.outputs)}
        self._has_bf16 = "BF16" in datatypes
        if self._has_bf16 and "BYTES" in {spec.datatype for spec in self.inputs}:
            raise LoadError("onnxruntime's Python takes no strings where a tensor is BF16")
        self._bound = _bound(self._session, self._running(request), datatypes)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs, each in the dtype and shape that the model gives it.

        Raises:
            NotSupported: a string among them is not UTF-8.
        """
        if self._bound:
            run = self._bound.run
        else:
            run = self._run_bf16 if self._has_bf16 else self._run_numpy
        try:
            return dict(zip(outputs, run(inputs, outputs), strict=True))
        except UnicodeDecodeError as error:
            strings = {spec.name for spec in self.outputs if spec.datatype == "BYTES"}
            named = " or ".join(sorted(strings & set(outputs)))
            raise NotSupported(
                f"a string in output {named} is not UTF-8, and "
                "onnxruntime's Python gives text only; bytes need an output that is UINT8"
            ) from error

    def attempt(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Run what may well fail: onnxruntime raises why, and does not log it as well."""
        if self._bound:
            return self.run(inputs, outputs)
        run = self._run_bf16 if self._has_bf16 else self._run_numpy
        return dict(zip(outputs, run(inputs, outputs, _quiet()), strict=True))

    @property
    def quantized(self) -> bool:
        """Whether nodes of the graph say that it computes in whole numbers or in half precision."""
        parts = self._session.get_provider_graph_assignment_info()
        nodes = [node for part in parts for node in part.get_nodes()]
        return any(REDUCED.search(node.op_type) or HALVED.match(node.name) for node in nodes)

    def _running(self, request: ProviderRequest) -> Iterable[Provider]:
        return (one for one in request.providers if one.name in self.assignment.nodes)

    def _run_numpy(
        self,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        options: onnxruntime.RunOptions | None = None,
    ) -> list[Array]:
        arrays: list[Array] = self._session.run(list(outputs), dict(inputs), options)
        return arrays

    def _run_bf16(
        self,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        options: onnxruntime.RunOptions | None = None,
    ) -> list[Array]:
        """Run through OrtValues, the only road on which onnxruntime's Python takes BF16."""
        specs = (*self.inputs, *self.overridable)
        bf16 = {spec.name for spec in specs if spec.datatype == "BF16"}
        feeds = {name: _ort_value(array, name in bf16) for name, array in inputs.items()}
        values = self._session.run_with_ort_values(outputs, feeds, options)
        return [_array(value) for value in values]


def _open(
    model: Path | bytes, request: ProviderRequest, threads: Threads
) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """Try what was asked for, in order; gives the session and why each provider before was not it.

    A provider runs where it computes at least one node. One that is registered and
    computes none is what onnxruntime keeps silent about.
    """
    skipped: dict[str, str] = {}
    for wanted in request.alternatives:
        try:
            session, missing = _create(model, wanted, threads)
        except ProviderUnavailable as error:
            skipped[wanted[0].name] = str(error)
            continue
        skipped |= missing
        nodes = _nodes(session)
        named = [provider.name for provider in wanted if provider.name not in missing]
        skipped |= {
            name: _idle(name, sum(nodes.values()))
            for name in named
            if nodes and name not in nodes and name != CPU
        }
        if not nodes or any(name in nodes for name in named):
            return session, skipped
    raise ProviderUnavailable("; ".join(dict.fromkeys(skipped.values())))


def _idle(name: str, nodes: int) -> str:
    """Say that a provider computes nothing; one that is told to keep fp32 may not be able to."""
    hint = f"; many of its devices have fp16 alone, for which {defaults.on_purpose(name)} asks"
    known = name in defaults.OFTEN_HALF
    return f"{name} computes none of the model's {nodes} nodes" + (hint if known else "")


def _create(
    model: Path | bytes, wanted: Sequence[Provider], threads: Threads
) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """Make a session of those wanted that are here; gives why the others are not.

    Raises:
        ProviderUnavailable: none is here, or one of them fails with this model.
        LoadError: the model is at fault, or an option.
    """
    options, missing = _options(threads), {}
    for provider in wanted:
        try:
            providers.add(options, defaults.completed(provider, model))
        except ProviderUnavailable as error:
            missing[provider.name] = str(error)
    if len(missing) == len(wanted):
        raise ProviderUnavailable("; ".join(missing.values()))
    try:
        return onnxruntime.InferenceSession(model, options, enable_fallback=0), missing
    except Exception as error:  # onnxruntime raises a class of its own per status code
        accelerators = [provider.name for provider in wanted if provider.name != CPU]
        raise _failure(model, accelerators, error) from error


def _failure(model: Path | bytes, accelerators: list[str], error: Exception) -> LoadError:
    title = model.name if isinstance(model, Path) else "the model"
    told = f"onnxruntime cannot load {title}"
    if not accelerators:
        return LoadError(f"{told}: {providers.plain(str(error))}")
    named = ", ".join(accelerators)
    return ProviderUnavailable(f"{told} on {named}: {providers.plain(str(error))}")


def _options(threads: Threads) -> onnxruntime.SessionOptions:
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


def _quiet() -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # fatal errors
    return options


def _spinning(pool: str, microseconds: int) -> tuple[str, str]:
    if KNOWS_DURATION and microseconds:
        return f"session.{pool}.spin_duration_us", str(microseconds)
    return f"session.{pool}.allow_spinning", "0"


def _nodes(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """Count the nodes that each execution provider computes, as onnxruntime assigned them."""
    counts: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        counts[plugins.owner(subgraph.ep_name)] += len(subgraph.get_nodes())
    return dict(counts.most_common())


def _spec(node: onnxruntime.NodeArg) -> TensorSpec:
    if node.type not in DATATYPES:
        hint = "; convert the classifier with zipmap=False" if "map(" in node.type else ""
        raise LoadError(f"{node.name!r} is a {node.type}, which cannot be served{hint}")
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    symbol = next((size for size in node.shape[:1] if isinstance(size, str)), "")
    return TensorSpec(node.name, DATATYPES[node.type], shape, symbol=symbol)


def _overridable(session: onnxruntime.InferenceSession) -> Iterable[TensorSpec]:
    """What a model has a value for and lets its callers replace; some types cannot be served."""
    nodes = session.get_overridable_initializers()
    return (replace(_spec(node), optional=True) for node in nodes if node.type in DATATYPES)


def _ort_value(array: Array, bf16: bool) -> onnxruntime.OrtValue:
    if bf16:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _array(value: onnxruntime.OrtValue) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(data, DTYPES["BF16"]).reshape(value.shape())
