"""ONNX Runtime in process, on one execution provider with its own defaults or some options."""

import numpy as np

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
