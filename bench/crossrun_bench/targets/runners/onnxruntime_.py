"""ONNX Runtime in process, on one execution provider with its own defaults or some options."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.models.answering import answers
from crossrun_bench.models.layouts import Outputs
from crossrun_bench.models.model import (
    DETECTIONS,
    SCORE_THRESHOLD,
    Objects,
    Probabilities,
    as_input,
    packed,
)
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.sessions import session
from crossrun_bench.targets.task import Task


class OnnxRuntime:
    """The served model.onnx in one session."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._session = session(task.model.onnx, task.provider)

    def run(self, batch: Batch) -> Probabilities:
        """One `InferenceSession.run`."""
        feed = {self._model.input_name: as_input(self._model, batch.pixels)}
        answer: Probabilities = self._session.run([self._model.output_name], feed)[0]
        return answer


class Detector:
    """The served detector in one session."""

    def __init__(self, task: Task) -> None:
        assert task.model.detector
        self._model, least = task.model, task.model.detector.min_score
        self._asked = {} if least is None else {SCORE_THRESHOLD: np.full((1, 1), least, np.float32)}
        self._session = session(task.model.onnx, task.provider)

    def run(self, batch: Batch) -> Objects:
        """One `InferenceSession.run`."""
        feed = {self._model.input_name: as_input(self._model, batch.pixels)} | self._asked
        names = sorted(DETECTIONS)
        return packed(dict(zip(names, self._session.run(names, feed), strict=True)))


class Original:
    """The ONNX file that model.onnx was made from, on the CPU."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._session = session(task.file, task.provider)
        (image,) = (
            one
            for one in self._session.get_inputs()
            if task.model.original.input in {None, one.name}
        )
        self._input, self._single = image.name, image.shape[0] == 1
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, batch: Batch) -> Probabilities | Objects:
        """Scale in numpy, run, and read the outputs."""
        return answers(self._model, batch.pixels, self._ask, single=self._single)

    def _ask(self, given: NDArray[Any]) -> Outputs:
        said = self._session.run(self._names, {self._input: given})
        return dict(zip(self._names, said, strict=True))
