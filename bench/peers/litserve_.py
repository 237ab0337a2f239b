"""LitServe, which speaks HTTP: a POST with the tensor's bytes is answered with those of float32.

It has `sessions` worker processes with a session each, one process for HTTP, and the queue that is
made for many requests a second (`fast_queue`).
"""

import threading
import time
import urllib.request
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body, Response

import common


class Onnx(litserve.LitAPI):
    """The file in a session."""

    def __init__(self, model: common.Asked) -> None:
        super().__init__()
        self._model = model

    def setup(self, device: str) -> None:  # noqa: ARG002 - the signature is LitServe's
        """Load the file, in each worker."""
        self._session = common.session(self._model.onnx, self._model.threads)
        self._input = self._session.get_inputs()[0]

    def decode_request(self, request: Annotated[bytes, Body()]) -> Any:
        """Pixels uint8 [1, H, W, 3]."""
        return np.frombuffer(request, np.uint8).reshape(1, *self._input.shape[1:])

    def predict(self, pixels: Any) -> Any:
        """Run once."""
        return self._session.run(None, {self._input.name: pixels})[0]

    def encode_response(self, output: Any) -> Response:
        """Bytes of float32."""
        return Response(output.tobytes(), media_type="application/octet-stream")


def _announce(port: int) -> None:
    """LitServe's health check answers once all workers are set up."""
    url = f"http://{common.HOST}:{port}"
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1.0).close()  # noqa: S310 - our own
            break
        except OSError:
            time.sleep(0.1)
    common.say(f"{url}/predict")


def main() -> None:
    """Serve until told to stop."""
    model = common.asked(__doc__)
    port = common.free_port()
    threading.Thread(target=_announce, args=(port,), daemon=True).start()
    server = litserve.LitServer(
        Onnx(model), accelerator="cpu", workers_per_device=model.sessions, fast_queue=True
    )
    server.run(
        common.HOST, port, num_api_servers=1, log_level="warning", generate_client_file=False
    )


if __name__ == "__main__":
    main()
