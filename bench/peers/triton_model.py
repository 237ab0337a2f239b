"""The model that triton_.py puts into Triton's Python backend. Only runs inside the backend."""

import json
from typing import Any

import triton_python_backend_utils as backend

import common


class TritonPythonModel:
    """The file in a session; each instance has one, in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the file that the config names."""
        config = json.loads(args["model_config"])
        given = {key: value["string_value"] for key, value in config["parameters"].items()}
        self._session = common.session(given["onnx"], int(given["threads"]))
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run once for each request."""
        return [self._answered(request) for request in requests]

    def _answered(self, request: Any) -> Any:
        pixels = backend.get_input_tensor_by_name(request, self._input).as_numpy()
        (answer,) = self._session.run([self._output], {self._input: pixels})
        return backend.InferenceResponse([backend.Tensor(self._output, answer)])
