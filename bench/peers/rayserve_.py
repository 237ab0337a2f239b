"""Ray Serve: ModelInfer of the Open Inference Protocol through its gRPC proxy.

It has `sessions` replicas with a session each. The messages are the project's own stubs.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve

import common
from crossrun.oip import grpc_service_pb2 as oip

_SERVICER = "crossrun.oip.grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server"

_SETTINGS = {
    # Ray's own processes import the stubs and this folder as well.
    "PYTHONPATH": os.pathsep.join([str(common.PROTO), str(Path(__file__).parent)]),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}


class Onnx:
    """The file in a session."""

    def __init__(self, model: common.Asked) -> None:
        self._model = model
        self._session = common.session(model.onnx, model.threads)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def ModelReady(self, _: Any) -> Any:  # noqa: N802 - the protocol's name
        """Say yes: a replica is ready once it exists."""
        return oip.ModelReadyResponse(ready=True)

    def ModelInfer(self, request: Any) -> Any:  # noqa: N802 - the protocol's name
        """Run once."""
        shape = tuple(request.inputs[0].shape)
        pixels = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(shape)
        (answer,) = self._session.run([self._output], {self._input: pixels})
        output = oip.ModelInferResponse.InferOutputTensor(
            name=self._output, datatype="FP32", shape=answer.shape
        )
        return oip.ModelInferResponse(
            model_name=self._model.name, outputs=[output], raw_output_contents=[answer.tobytes()]
        )


def main() -> None:
    """Serve until told to stop."""
    model = common.asked(__doc__)
    port = common.free_port()
    os.environ.update(_SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        # Ray counts a replica as one core, whatever it uses.
        ray.init(
            num_cpus=model.sessions + 1,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,
        )
        serve.start(
            http_options={"port": common.free_port()},
            grpc_options={"port": port, "grpc_servicer_functions": [_SERVICER]},
        )
        replicas = serve.deployment(num_replicas=model.sessions, max_ongoing_requests=100)
        serve.run(replicas(Onnx).bind(model))
        common.announce_when_ready(model.name, port)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
