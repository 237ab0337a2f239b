"""MLServer with a custom runtime, over gRPC.

The runtime stays in the server's process, and threads call a session. MLServer's parallel workers
would get each picture pickled, through a queue. Debug logs and metrics are off.
"""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

import common


class Onnx(MLModel):
    """The file in a session."""

    async def load(self) -> bool:
        """Load the file that the settings name."""
        self._runner = common.Runner(common.Asked(**self.settings.parameters.extra))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run once, in a thread, so that other requests can be read meanwhile."""
        pixels = NumpyCodec.decode_input(payload.inputs[0])
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._runner.pool, self._runner.run, pixels)
        output = NumpyCodec.encode_output(self._runner.output, answer)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main() -> None:
    """Serve until told to stop."""
    model = common.asked(__doc__)
    grpc_port, http_port = common.free_port(), common.free_port()
    settings = Settings(
        host=common.HOST,
        grpc_port=grpc_port,
        http_port=http_port,
        debug=False,
        parallel_workers=0,
        metrics_endpoint=None,
        load_models_at_startup=False,
    )
    parameters = {"extra": vars(model)}
    served = ModelSettings(name=model.name, implementation=Onnx, parameters=parameters)
    common.announce_when_ready(model.name, grpc_port)
    await MLServer(settings).start([served])


if __name__ == "__main__":
    asyncio.run(main())
