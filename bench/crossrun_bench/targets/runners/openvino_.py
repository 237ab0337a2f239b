"""OpenVINO's own runtime in process, on the CPU, without onnxruntime."""

import openvino

from crossrun_bench.models.model import Probabilities, as_input
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.task import Task


class OpenVino:
    """The served model.onnx with the hint for latency, in the precision of the file."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        # By default it computes fp32 in bfloat16 if the processor can: answers would differ.
        hints = {"PERFORMANCE_HINT": "LATENCY", "EXECUTION_MODE_HINT": "ACCURACY"}
        self._compiled = openvino.Core().compile_model(task.model.onnx, "CPU", hints)

    def run(self, batch: Batch) -> Probabilities:
        """Make one call, which copies input and output."""
        answers = self._compiled({self._model.input_name: as_input(self._model, batch.pixels)})
        answer: Probabilities = answers[self._model.output_name]
        return answer
