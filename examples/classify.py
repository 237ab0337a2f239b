"""Ask what pictures show. Needs grpc and the stubs alone: no tensors, no preprocessing.

python examples/classify.py photo.jpg [--model mobilenet] [--server localhost:8001]
"""

import argparse
import sys
from pathlib import Path

import grpc

from crossrun.v1 import vision_pb2, vision_pb2_grpc


def main() -> None:
    """Print the three best classes of each picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model", default="", help="may be left out if the server has only one")
    parser.add_argument("--server", default="localhost:8001")
    asked = parser.parse_args()

    request = vision_pb2.ClassifyRequest(
        model=asked.model, images=[picture.read_bytes() for picture in asked.pictures], top_k=3
    )
    with grpc.insecure_channel(asked.server) as channel:
        try:
            answer = vision_pb2_grpc.VisionStub(channel).Classify(request, timeout=10)
        except grpc.RpcError as error:
            sys.exit(f"{error.code().name}: {error.details()}")
    for picture, result in zip(asked.pictures, answer.results, strict=True):
        for best in result.classes:
            print(f"{picture}: {best.score:.1%} {best.label}")


if __name__ == "__main__":
    main()
