"""LiteRT, formerly TensorFlow Lite, in process: its CPU kernels (XNNPACK) on every core."""

from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from crossrun_bench.machine.machine import cores
from crossrun_bench.models.answering import answers
from crossrun_bench.models.layouts import Outputs
from crossrun_bench.models.model import Objects, Probabilities
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.task import Task


class LiteRt:
    """One interpreter, resized when the batch size changes; or asked for a picture at a time."""

    def __init__(self, task: Task) -> None:
        original = task.model.original
        self._model = task.model
        self._interpreter = Interpreter(task.file, num_threads=max(1, round(cores())))
        names = original.layout.outputs.values() if original.layout else ()
        self._input, *_ = _named(self._interpreter, "input", [original.input]).values()
        self._outputs = _named(self._interpreter, "output", names)
        self._single = self._input["shape_signature"][0] == 1
        self._batch = 0

    def run(self, batch: Batch) -> Probabilities | Objects:
        """Scale in numpy, invoke, and read the outputs."""
        return answers(self._model, batch.pixels, self._ask, single=self._single)

    def _ask(self, given: NDArray[Any]) -> Outputs:
        if len(given) != self._batch:
            self._resize(given.shape)
        self._interpreter.set_tensor(self._input["index"], _quantized(given, self._input))
        self._interpreter.invoke()
        return {
            name: _real(self._interpreter.get_tensor(tensor["index"]), tensor)
            for name, tensor in self._outputs.items()
        }

    def _resize(self, shape: tuple[int, ...]) -> None:
        self._interpreter.resize_tensor_input(self._input["index"], shape)
        self._interpreter.allocate_tensors()
        self._batch = shape[0]


def _named(interpreter: Any, kind: str, names: Collection[str | None]) -> dict[str, Any]:
    """The inputs or outputs, by the names that a signature has for them if these are asked for.

    By default by those of the tensors. Other names than these two kinds are the caller's to miss.
    """
    if names and interpreter.get_signature_list():
        runner = interpreter.get_signature_runner()
        signed: dict[str, Any] = getattr(runner, f"get_{kind}_details")()
        if signed.keys() >= set(names):
            return {name: signed[name] for name in names if name}
    return {tensor["name"]: tensor for tensor in getattr(interpreter, f"get_{kind}_details")()}


def _quantized(given: NDArray[Any], tensor: Any) -> NDArray[Any]:
    """The input as the tensor holds it."""
    scale, zero = tensor["quantization"]
    if not scale:
        return given
    limits = np.iinfo(tensor["dtype"])
    whole = (np.round(given / np.float32(scale)) + zero).clip(limits.min, limits.max)
    held: NDArray[Any] = whole.astype(tensor["dtype"])
    return held


def _real(held: NDArray[Any], tensor: Any) -> NDArray[Any]:
    """The numbers that an output stands for."""
    scale, zero = tensor["quantization"]
    return (held.astype(np.float32) - zero) * np.float32(scale) if scale else held
