"""One onnxruntime session: loads a model, describes it, runs it. Knows nothing of batches."""

import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from crossrun_server import cores
from crossrun_server.errors import LoadError, NotSupported
from crossrun_server.runtime import defaults, ort_errors, plugins, session_options
from crossrun_server.runtime.assignment import assigned
from crossrun_server.runtime.binding import BoundSession
from crossrun_server.runtime.providers import CPU, DEVICE_ID, Provider, ProviderRequest
from crossrun_server.runtime.session_options import ProviderUnavailable, Threads
from crossrun_server.scheduling.interruption import ended_by
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
# Of a run; onnxruntime (include/onnxruntime/core/session/onnxruntime_run_options_config_keys.h).
SHRINK = "memory.enable_memory_arena_shrinkage"
UNBOUND = {"BF16", "BYTES"}  # numpy has no BF16, and no device holds strings
REDUCED = re.compile(r"QuantizeLinear$|^QLinear|Integer$|MatMulNBits$")  # types of nodes
HALVED = re.compile(r"graph_(in|out)put_cast")  # casts that converters to fp16 insert


class Session:
    """A loaded ONNX model on the execution providers that were asked for.

    Args:
        model: the file, or its bytes.
        request: the providers, in order.
        threads: how many threads it computes with.

    Raises:
        LoadError: the model cannot be used, or none of the providers runs it.
    """

    def __init__(
        self, model: Path | bytes, request: ProviderRequest, threads: Threads | None = None
    ) -> None:
        self.request = request
        self._session, skipped = _open(model, request, threads or Threads())
        count = self._session.get_session_options().intra_op_num_threads
        self.assignment = assigned(request, _nodes(self._session), skipped, count)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self.overridable = tuple(_overridable(self._session))
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        datatypes = {spec.datatype for spec in (*self.inputs, *self.overridable, *self.outputs)}
        self._has_bf16 = "BF16" in datatypes
        if self._has_bf16 and "BYTES" in {spec.datatype for spec in self.inputs}:
            raise LoadError("onnxruntime's Python takes no strings where a tensor is BF16")
        self._bound = _bound(self._session, self._running(request), datatypes)
        on_cpu = self.assignment.nodes.keys() <= {CPU}
        self._core = threads.cores[0] if threads and threads.cores and on_cpu else None

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs, each with the dtype and shape that it has in the model.

        Raises:
            NotSupported: a string in them is not UTF-8.
        """
        try:
            return dict(zip(outputs, self._run(inputs, outputs), strict=True))
        except UnicodeDecodeError as error:
            strings = {spec.name for spec in self.outputs if spec.datatype == "BYTES"}
            named = " or ".join(sorted(strings & set(outputs)))
            raise NotSupported(
                f"a string in output {named} is not UTF-8, and "
                "onnxruntime's Python returns only text; bytes need an output that is UINT8"
            ) from error

    def run_and_shrink(
        self, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Array]:
        """Run as `run` does, then give back the CPU's memory that no run needs at this moment."""
        options = onnxruntime.RunOptions()
        options.add_run_config_entry(SHRINK, "cpu:0")
        return dict(zip(outputs, self._unbound(inputs, outputs, options), strict=True))

    def attempt(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Run something that may fail: onnxruntime raises the reason, but does not log it."""
        if self._bound:
            return self.run(inputs, outputs)
        return dict(zip(outputs, self._unbound(inputs, outputs, _quiet()), strict=True))

    @property
    def quantized(self) -> bool:
        """Whether nodes of the graph compute in whole numbers or in half precision."""
        parts = self._session.get_provider_graph_assignment_info()
        nodes = [node for part in parts for node in part.get_nodes()]
        return any(REDUCED.search(node.op_type) or HALVED.match(node.name) for node in nodes)

    def _running(self, request: ProviderRequest) -> Iterable[Provider]:
        return (one for one in request.providers if one.name in self.assignment.nodes)

    def _run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> Sequence[Array]:
        if self._bound:
            return self._bound.run(inputs, outputs)
        options = _interruptible()
        if self._core is None:
            return self._unbound(inputs, outputs, options)
        with cores.bound(self._core):
            return self._unbound(inputs, outputs, options)

    @property
    def _unbound(self) -> Callable[..., list[Array]]:
        return self._run_bf16 if self._has_bf16 else self._run_numpy

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
        """Run on OrtValues, the only way in which onnxruntime's Python accepts BF16."""
        specs = (*self.inputs, *self.overridable)
        bf16 = {spec.name for spec in specs if spec.datatype == "BF16"}
        feeds = {name: _ort_value(array, name in bf16) for name, array in inputs.items()}
        values = self._session.run_with_ort_values(outputs, feeds, options)
        return [_array(value) for value in values]


def _bound(
    session: onnxruntime.InferenceSession, running: Iterable[Provider], datatypes: set[str]
) -> BoundSession | None:
    """Wrap a session whose provider captures CUDA graphs; return None for all others."""
    capturing = next((provider for provider in running if provider.captures), None)
    if capturing is None:
        return None
    if unfit := datatypes & UNBOUND:
        raise LoadError(f"CUDA graphs take no tensors of {', '.join(sorted(unfit))}")
    return BoundSession(session, *_device(capturing))


def _device(provider: Provider) -> tuple[str, int]:
    """Return where a provider that captures graphs needs its buffers, by OrtValue's name."""
    return "cuda", int(provider.options.get(DEVICE_ID, "0"))


def _open(
    model: Path | bytes, request: ProviderRequest, threads: Threads
) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """Try what was asked for, in order; return the session, and why the others do not run.

    A provider runs if it computes at least one node. onnxruntime does not report a provider that
    is registered but computes none.
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
    """Say that a provider computes nothing, perhaps because its device has no fp32."""
    hint = f"; many of its devices have fp16 alone, for which {defaults.on_purpose(name)} asks"
    known = name in defaults.OFTEN_HALF
    return f"{name} computes none of the model's {nodes} nodes" + (hint if known else "")


def _create(
    model: Path | bytes, wanted: Sequence[Provider], threads: Threads
) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """Make a session on those providers that are here; return it, and why the others are not.

    Raises:
        ProviderUnavailable: none is here, or one of them fails on this model.
        LoadError: the model cannot be loaded, or an option is wrong.
    """
    options, missing = session_options.create(threads), {}
    if threads.cores and all(provider.name == CPU for provider in wanted):
        session_options.bind(options, threads.cores)
    for provider in wanted:
        try:
            session_options.add_provider(options, defaults.completed(provider, model))
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
        return LoadError(f"{told}: {ort_errors.plain(str(error))}")
    named = ", ".join(accelerators)
    return ProviderUnavailable(f"{told} on {named}: {ort_errors.plain(str(error))}")


def _interruptible() -> onnxruntime.RunOptions:
    """Make options of a run that ends, at the end of a node, if nobody waits for it any more."""
    options = onnxruntime.RunOptions()
    ended_by(partial(setattr, options, "terminate", True))
    return options


def _quiet() -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # fatal errors
    return options


def _nodes(session: onnxruntime.InferenceSession) -> dict[str, int]:
    """Count the nodes that onnxruntime assigned to each execution provider."""
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
    """Yield the inputs with default values; those whose type cannot be served are left out."""
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
