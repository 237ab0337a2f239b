"""LiteRT, formerly TensorFlow Lite, in process: its CPU kernels (XNNPACK) on every core."""

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
        inputs = _by_name(self._interpreter, "input")
        self._input = (
            inputs[original.input] if original.input in inputs else next(iter(inputs.values()))
        )
        self._outputs = _by_name(self._interpreter, "output")
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


def _by_name(interpreter: Any, kind: str) -> dict[str, Any]:
    """The inputs or outputs by their tensors' names, and by those that a signature has."""
    own = {tensor["name"]: tensor for tensor in getattr(interpreter, f"get_{kind}_details")()}
    if not interpreter.get_signature_list():
        return own
    runner = interpreter.get_signature_runner()
    return own | getattr(runner, f"get_{kind}_details")()


def _quantized(given: NDArray[Any], tensor: Any) -> NDArray[Any]:
    """The input as the tensor holds it."""
    scale, zero = tensor["quantization"]
    if not scale:
        return given
    limits = np.iinfo(tensor["dtype"])
    whole = np.round(given / np.float32(scale)) + zero
    return whole.clip(limits.min, limits.max).astype(tensor["dtype"])


def _real(held: NDArray[Any], tensor: Any) -> NDArray[Any]:
    """The numbers that an output stands for."""
    scale, zero = tensor["quantization"]
    return (held.astype(np.float32) - zero) * np.float32(scale) if scale else held
