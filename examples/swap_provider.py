"""Move a model to another execution provider while a client keeps asking it.

crossrun-serve models/ --provider cpu --model-control-mode explicit --load-model '*'
python examples/swap_provider.py mobilenet openvino [--server localhost:8001]
"""

import argparse
import json
import sys
import threading

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import triton_to_np_dtype

from crossrun.v1 import providers_pb2, providers_pb2_grpc


def ask(server: str, model: str, stop: threading.Event, answered: list[str]) -> None:
    """Ask again and again; an error that a swap would cause ends it."""
    with triton.InferenceServerClient(server) as client:
        inputs = []
        for taken in client.get_model_metadata(model).inputs:
            shape = [max(size, 1) for size in taken.shape]  # -1 is free: one row
            inputs.append(triton.InferInput(taken.name, shape, taken.datatype))
            inputs[-1].set_data_from_numpy(np.ones(shape, triton_to_np_dtype(taken.datatype)))
        while not stop.is_set():
            answered.append(client.infer(model, inputs).get_response().model_version)


def load(server: str, model: str, provider: str) -> None:
    """Load it again with the configuration that it has, but on this provider."""
    with triton.InferenceServerClient(server) as client:
        config = client.get_model_config(model, as_json=True)["config"]
        config.setdefault("parameters", {})["providers"] = {"string_value": provider}
        client.load_model(model, config=json.dumps(config))


def running(server: str, model: str) -> str:
    """What computes the model, as onnxruntime counted it."""
    with grpc.insecure_channel(server) as channel:
        request = providers_pb2.ListPlacementsRequest(model=model)
        placed = providers_pb2_grpc.ProvidersStub(channel).ListPlacements(request).placements[0]
    return ", ".join(f"{count.nodes} nodes on {count.provider}" for count in placed.running)


def main() -> None:
    """Swap, and say how many requests were answered meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("provider")
    parser.add_argument("--server", default="localhost:8001")
    asked = parser.parse_args()

    stop, answered = threading.Event(), list[str]()
    client = threading.Thread(target=ask, args=(asked.server, asked.model, stop, answered))
    client.start()
    try:
        print(f"before: {running(asked.server, asked.model)}")
        load(asked.server, asked.model, asked.provider)
        print(f"after: {running(asked.server, asked.model)}")
        if not client.is_alive():
            sys.exit("a request failed")
    finally:
        stop.set()
        client.join()
    print(f"{len(answered)} requests answered meanwhile, none failed")


if __name__ == "__main__":
    main()
