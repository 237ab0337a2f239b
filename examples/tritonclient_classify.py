"""Ask what a picture shows with NVIDIA's stock client, which has never heard of crossrun.

pip install 'tritonclient[grpc]'
python examples/tritonclient_classify.py photo.jpg --model mobilenet [--server localhost:8001]
"""

import argparse
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from PIL import Image


def main() -> None:
    """Print the three best classes, ranked by the server (the classification extension)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--server", default="localhost:8001")
    asked = parser.parse_args()

    with triton.InferenceServerClient(asked.server) as client:
        taken = client.get_model_metadata(asked.model)
        _, height, width, _ = taken.inputs[0].shape
        picture = Image.open(asked.picture).convert("RGB").resize((width, height))
        pixels = np.asarray(picture, np.uint8)[np.newaxis]
        tensor = triton.InferInput(taken.inputs[0].name, pixels.shape, "UINT8")
        tensor.set_data_from_numpy(pixels)
        scores = triton.InferRequestedOutput(taken.outputs[0].name, class_count=3)
        answer = client.infer(asked.model, [tensor], outputs=[scores])
    for best in answer.as_numpy(taken.outputs[0].name)[0]:
        score, _, label = best.decode().split(":", 2)
        print(f"{asked.picture}: {float(score):.1%} {label}")


if __name__ == "__main__":
    main()
