"""Runs a session on buffers that stay in one place, as a captured CUDA graph needs them.

Each set of input shapes has its own buffers on the device. A run copies inputs to them, computes,
and copies outputs back. Knows no providers and no requests.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import onnxruntime

from crossrun_server.tensors.tensor_spec import Array

MOST = 16  # sets of shapes with buffers; enough for all powers of two up to 32,768
GRAPH = "gpu_graph_id"  # names the graph that a run captures or replays
NO_GRAPH = -1

Key = tuple[frozenset[tuple[str, tuple[int, ...]]], tuple[str, ...]]


@dataclass(frozen=True)
class _Binding:
    """The buffers of one set of shapes."""

    inputs: Mapping[str, onnxruntime.OrtValue]
    bound: onnxruntime.IOBinding
    options: onnxruntime.RunOptions


class BoundSession:
    """A session that runs on bound buffers, one caller at a time, on a thread of its own.

    CUDA ties a captured graph to the thread that captured it, so onnxruntime allows no runs on
    other threads.

    Args:
        session: nothing else may run it.
        device: where the buffers are, by OrtValue's name: "cuda", or "cpu".
        device_id: which of several devices.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, device: str, device_id: int = 0
    ) -> None:
        self._session = session
        self._device = (device, device_id)
        self._bindings: dict[Key, _Binding] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bound")

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Compute the named outputs; later runs do not change the arrays that are returned.

        Tensors have the model's dtypes, which are neither strings nor BF16.
        """
        return self._thread.submit(self._run, inputs, tuple(outputs)).result()

    def _run(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> list[Array]:
        key = frozenset((name, array.shape) for name, array in inputs.items()), outputs
        if key not in self._bindings and len(self._bindings) == MOST:
            return self._unbound(inputs, outputs)
        if key not in self._bindings:
            self._bindings[key] = self._bind(inputs, outputs)
        binding = self._bindings[key]
        for name, array in inputs.items():
            binding.inputs[name].update_inplace(array)
        self._session.run_with_iobinding(binding.bound, binding.options)
        arrays: list[Array] = binding.bound.copy_outputs_to_cpu()
        return arrays

    def _bind(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> _Binding:
        """Make buffers; those of the outputs come from a first run without a graph."""
        buffers = {name: self._buffer(array) for name, array in inputs.items()}
        bound = self._session.io_binding()
        for name, buffer in buffers.items():
            bound.bind_ortvalue_input(name, buffer)
        for name in outputs:
            bound.bind_output(name, *self._device)
        self._session.run_with_iobinding(bound, _options(NO_GRAPH))
        for name, buffer in zip(outputs, bound.get_outputs(), strict=True):
            bound.bind_ortvalue_output(name, buffer)
        return _Binding(buffers, bound, _options(len(self._bindings)))

    def _buffer(self, array: Array) -> onnxruntime.OrtValue:
        make = onnxruntime.OrtValue.ortvalue_from_shape_and_type
        buffer = make(array.shape, array.dtype.type, *self._device)
        buffer.update_inplace(array)
        return buffer

    def _unbound(self, inputs: Mapping[str, Array], outputs: tuple[str, ...]) -> list[Array]:
        arrays: list[Array] = self._session.run(list(outputs), dict(inputs), _options(NO_GRAPH))
        return arrays


def _options(graph: int) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(GRAPH, str(graph))
    return options
