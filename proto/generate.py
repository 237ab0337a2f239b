"""Generates the Python stubs of every .proto below this folder.

Usage: `python proto/generate.py [OUTPUT_DIR]`. Without OUTPUT_DIR each stub goes beside its .proto.
The stubs are committed; run this after editing a .proto.
"""

import sys
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent
GENERATORS = ("python", "pyi", "grpc_python")


def generate(output: Path) -> int:
    """Write the stubs of every .proto into `output`; return the exit code of protoc."""
    protos = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.proto"))
    outputs = [f"--{generator}_out={output}" for generator in GENERATORS]
    return int(protoc.main(["protoc", f"--proto_path={SOURCE}", *outputs, *protos]))


if __name__ == "__main__":
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE))
