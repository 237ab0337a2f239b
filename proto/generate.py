"""Generates the Python stubs of every .proto below this folder.

Usage: `python proto/generate.py [OUTPUT_DIR]`. Without OUTPUT_DIR each stub goes beside its .proto.
The stubs are committed; run this after editing a .proto. They are what protoc writes, but for the
pool of their descriptors; crossrun/_pool.py says why.
"""

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent
WELL_KNOWN = resources.files("grpc_tools") / "_proto"  # google/protobuf/*.proto
GENERATORS = ("python", "pyi", "grpc_python")
# What protoc writes once in each *_pb2.py → what stands there in ours.
OWN_POOL = {
    "from google.protobuf import descriptor_pool as _descriptor_pool": (
        "from crossrun._pool import BUILDER as _builder, POOL as _pool"
    ),
    "from google.protobuf.internal import builder as _builder\n": "",
    "_descriptor_pool.Default()": "_pool",
}


def generate(output: Path) -> int:
    """Write the stubs of every .proto into `output`; return the exit code of protoc."""
    protos = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.proto"))
    outputs = [f"--{generator}_out={output}" for generator in GENERATORS]
    paths = [f"--proto_path={folder}" for folder in (SOURCE, WELL_KNOWN)]
    failed = int(protoc.main(["protoc", *paths, *outputs, *protos]))
    if not failed:
        for proto in protos:
            _use_own_pool((output / proto).with_name(f"{Path(proto).stem}_pb2.py"))
    return failed


def _use_own_pool(stub: Path) -> None:
    text = stub.read_text("utf-8")
    for written, ours in OWN_POOL.items():
        if text.count(written) != 1:
            raise SystemExit(f"{stub}: expected from protoc, once, the line {written.strip()!r}")
        text = text.replace(written, ours)
    stub.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE))
