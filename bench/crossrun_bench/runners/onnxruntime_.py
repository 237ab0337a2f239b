"""ONNX Runtime in process, on one execution provider with its own defaults or some options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrun_bench.model import as_input
from crossrun_bench.sessions import session

if TYPE_CHECKING:
    from crossrun_bench.pictures import Batch
    from crossrun_bench.runners import Probabilities, Task


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
