"""ONNX Runtime in process, on one execution provider with its own defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime

from crossrun_bench.errors import BenchError
from crossrun_bench.machine import lacks_vnni
from crossrun_bench.model import as_input

if TYPE_CHECKING:
    from crossrun_bench.pictures import Batch
    from crossrun_bench.runners import Probabilities, Task


class OnnxRuntime:
    """The served model.onnx in one session."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        options = onnxruntime.SessionOptions()
        if lacks_vnni():
            # Its kernels for signed weights saturate there, and answers are wrong; this takes those
            # for unsigned weights, as the server does. Elsewhere it would halve the speed.
            options.add_session_config_entry("session.x64quantprecision", "1")
        asked = task.provider
        self._session = onnxruntime.InferenceSession(
            task.model.onnx, options, providers=[(asked.name, asked.options)]
        )
        first, *_ = self._session.get_providers()
        if first != asked.name:  # it only warns, and takes the CPU
            raise BenchError(f"{asked} cannot run here: onnxruntime fell back to {first}")

    def run(self, batch: Batch) -> Probabilities:
        """One `InferenceSession.run`."""
        feed = {self._model.input_name: as_input(self._model, batch.pixels)}
        answer: Probabilities = self._session.run([self._model.output_name], feed)[0]
        return answer
