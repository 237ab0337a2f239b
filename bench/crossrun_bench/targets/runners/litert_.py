"""LiteRT, formerly TensorFlow Lite, in process: its CPU kernels (XNNPACK) on every core."""

from ai_edge_litert.interpreter import Interpreter

from crossrun_bench.machine.machine import cores
from crossrun_bench.models.model import Probabilities, scaled
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.task import Task


class LiteRt:
    """The converted model in one interpreter, resized when the batch size changes."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        threads = max(1, round(cores()))
        self._interpreter = Interpreter(task.converted, num_threads=threads)
        self._batch = 0
        (self._input,) = (tensor["index"] for tensor in self._interpreter.get_input_details())
        (self._output,) = (tensor["index"] for tensor in self._interpreter.get_output_details())

    def run(self, batch: Batch) -> Probabilities:
        """Scale in numpy, then invoke."""
        pixels = scaled(self._model, batch.pixels)
        if len(pixels) != self._batch:
            self._resize(pixels.shape)
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        answer: Probabilities = self._interpreter.get_tensor(self._output)
        return answer

    def _resize(self, shape: tuple[int, ...]) -> None:
        self._interpreter.resize_tensor_input(self._input, shape)
        self._interpreter.allocate_tensors()
        self._batch = shape[0]
