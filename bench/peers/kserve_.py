"""KServe's Python model server, over gRPC.

Threads call a session, so that the server's loop can read other requests meanwhile. The log line
for each request is off.
"""

import asyncio
from typing import Any

import kserve
from kserve import InferOutput, InferRequest, InferResponse

import common


class Onnx(kserve.Model):
    """The file in a session."""

    def __init__(self, model: common.Asked) -> None:
        super().__init__(model.name)
        self._runner = common.Runner(model)
        self.ready = True

    async def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
        """Run once, in a thread."""
        pixels = payload.inputs[0].as_numpy()
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._runner.pool, self._runner.run, pixels)
        output = InferOutput(self._runner.output, list(answer.shape), "FP32")
        output.set_data_from_numpy(answer)
        return InferResponse(payload.id, self.name, [output])


def main() -> None:
    """Serve until told to stop."""
    model = common.asked(__doc__)
    grpc_port, http_port = common.free_port(), common.free_port()
    common.announce_when_ready(model.name, grpc_port)
    server = kserve.ModelServer(http_port, grpc_port, enable_latency_logging=False)
    server.start([Onnx(model)])


if __name__ == "__main__":
    main()
