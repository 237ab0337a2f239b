"""Writes the golden messages: what every client has to read and write, byte for byte.

Usage: `python proto/golden.py [OUTPUT_DIR]`. proto/golden/*.json are written by hand, in protobuf's
JSON; each becomes a .bin of the message's bytes beside it, or in OUTPUT_DIR. The .bin are
committed; run this after editing a .json.
"""

import sys
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from crossrun.oip import grpc_service_pb2
from crossrun.v1 import providers_pb2, vision_pb2

GOLDEN = Path(__file__).resolve().parent / "golden"
FILES = (grpc_service_pb2, vision_pb2, providers_pb2, health_pb2)
# Class by its full name, such as inference.ModelInferRequest.
MESSAGES: dict[str, type[Message]] = {
    f"{file.DESCRIPTOR.package}.{name}": getattr(file, name)
    for file in FILES
    for name in file.DESCRIPTOR.message_types_by_name
}


def message_of(source: Path) -> Message:
    """Read a message of the type that its file is named after, MESSAGE.CASE.json.

    Raises:
        json_format.ParseError: the JSON is not one of this message.
        KeyError: no message has this name.
    """
    return json_format.Parse(source.read_text("utf-8"), MESSAGES[source.stem.rpartition(".")[0]]())


def generate(output: Path) -> None:
    """Write the bytes of every message into `output`."""
    for source in sorted(GOLDEN.glob("*.json")):
        message = message_of(source)
        (output / f"{source.stem}.bin").write_bytes(message.SerializeToString(deterministic=True))


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN)
