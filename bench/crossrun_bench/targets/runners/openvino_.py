"""OpenVINO's own runtime in process, on the CPU, without onnxruntime."""

from typing import Any

import numpy as np
import openvino

from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import (
    DETECTIONS,
    SCORE_THRESHOLD,
    Objects,
    Probabilities,
    as_input,
    packed,
)
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.task import Task


class OpenVino:
    """The served model.onnx with the hint for latency, in the precision of the file."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._compiled = _compiled(task.model.onnx)

    def run(self, batch: Batch) -> Probabilities:
        """Make one call, which copies input and output."""
        answers = self._compiled({self._model.input_name: as_input(self._model, batch.pixels)})
        answer: Probabilities = answers[self._model.output_name]
        return answer


class Detector:
    """The served detector, likewise."""

    def __init__(self, task: Task) -> None:
        assert task.model.detector
        self._model, least = task.model, task.model.detector.min_score
        self._compiled = _compiled(task.model.onnx)
        inputs = {name for one in self._compiled.inputs for name in one.get_names()}
        if least is not None and SCORE_THRESHOLD not in inputs:
            raise BenchError(f"OpenVINO keeps the model's own score threshold, not {least:g}")
        self._asked = {} if least is None else {SCORE_THRESHOLD: np.full((1, 1), least, np.float32)}

    def run(self, batch: Batch) -> Objects:
        """Make one call."""
        feed = {self._model.input_name: as_input(self._model, batch.pixels)} | self._asked
        said = self._compiled(feed)
        return packed({name: said[name] for name in DETECTIONS})


def _compiled(file: str) -> Any:
    # By default it computes fp32 in bfloat16 if the processor can: answers would differ.
    hints = {"PERFORMANCE_HINT": "LATENCY", "EXECUTION_MODE_HINT": "ACCURACY"}
    return openvino.Core().compile_model(file, "CPU", hints)
