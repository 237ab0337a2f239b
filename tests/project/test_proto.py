"""The wire: committed stubs, Triton's numbers, and a comment for everything."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.protobuf.descriptor_pb2 import (
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.message import Message
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"

# tritonclient's descriptors as data, from a process that has nothing of ours.
PRINT_TRITONS_DESCRIPTORS = """
import sys
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2

files = FileDescriptorSet()
for module in (model_config_pb2, service_pb2):
    module.DESCRIPTOR.CopyToProto(files.file.add())
sys.stdout.buffer.write(files.SerializeToString())
"""

# The generated modules of TensorFlow Serving's API, and those of TensorFlow that these import,
# without loading TensorFlow, which takes seconds.
PRINT_TENSORFLOWS_DESCRIPTORS = """
import importlib.util, sys, types
from google.protobuf.descriptor_pb2 import FileDescriptorSet

found = importlib.util.find_spec("tensorflow")
package = sys.modules["tensorflow"] = types.ModuleType("tensorflow")
package.__path__ = found.submodule_search_locations
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

files, seen = FileDescriptorSet(), set()
def add(file):
    if file.name not in seen:
        seen.add(file.name)
        file.CopyToProto(files.file.add())
        for imported in file.dependencies:
            add(imported)
add(model_service_pb2.DESCRIPTOR)
add(prediction_service_pb2.DESCRIPTOR)
sys.stdout.buffer.write(files.SerializeToString())
"""
TENSORFLOWS = ("tensorflow", "tensorflow.error", "tensorflow.serving")  # packages

# Lists of named things in a file, a message, an enum and a service, as descriptor.proto calls them.
FILE_PARTS = ("message_type", "enum_type", "service")
MESSAGE_PARTS = ("nested_type", "enum_type", "oneof_decl", "field")
NAMED_PARTS = {*FILE_PARTS, *MESSAGE_PARTS, "value", "method"}

FIELD_FACTS = ("number", "type", "label", "type_name")
RPC_FACTS = ("input_type", "output_type", "client_streaming", "server_streaming")


class Element(NamedTuple):
    """A message, field, oneof, enum, enum value, service or RPC."""

    name: str  # with its scope: .inference.ModelConfig.platform
    path: tuple[int, ...]  # as in SourceCodeInfo.Location
    parent: Any
    node: Any


def elements(parent: Message, scope: str, path: tuple[int, ...] = ()) -> Iterator[Element]:
    """Walk everything below `parent` that has a name."""
    for part, nodes in parent.ListFields():
        if part.name not in NAMED_PARTS:
            continue
        for index, node in enumerate(nodes):
            element = Element(f"{scope}.{node.name}", (*path, part.number, index), parent, node)
            yield element
            yield from elements(node, element.name, element.path)


def wire(files: FileDescriptorSet, *packages: str) -> dict[str, tuple[object, ...]]:
    """Say by name what matters on the wire: numbers, types, labels, oneofs, streams."""
    return {
        element.name: (
            *(getattr(element.node, fact, None) for fact in FIELD_FACTS + RPC_FACTS),
            oneof(element),
        )
        for file in files.file
        if file.package in packages
        for element in elements(file, f".{file.package}")
    }


def oneof(element: Element) -> str | None:
    """Name the oneof that a field belongs to."""
    node = element.node
    if not (isinstance(node, FieldDescriptorProto) and node.HasField("oneof_index")):
        return None
    return str(element.parent.oneof_decl[node.oneof_index].name)


def uncommented(file: FileDescriptorProto) -> list[str]:
    """Name the elements of `file` without a comment above them."""
    comments = {
        tuple(location.path): location.leading_comments.strip()
        for location in file.source_code_info.location
    }
    # What protoc adds by itself, such as the entries of a map, stands nowhere in the file.
    written = [
        element for element in elements(file, f".{file.package}") if element.path in comments
    ]
    return [element.name for element in written if not comments[element.path]]


def stubs(folder: Path) -> dict[str, bytes]:
    """Read every generated file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*_pb2*")
        if path.suffix in {".py", ".pyi"}
    }


def floor(package: str) -> Version:
    """Read the lowest version of `package` that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = {(it := Requirement(line)).name: it for line in project["dependencies"]}
    return min(Version(it.version) for it in requirements[package].specifier)


PROTOBUFS = ".google.protobuf."  # types that others of ours hold


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    output = tmp_path_factory.mktemp("descriptors") / "all.binpb"
    options = [f"--proto_path={PROTO}", "--include_source_info", f"--descriptor_set_out={output}"]
    # A process of its own: protoc and TensorFlow in one process end in a segmentation fault.
    protos = map(str, PROTO.rglob("*.proto"))
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *options, *protos]
    subprocess.run(protoc, check=True)
    return FileDescriptorSet.FromString(output.read_bytes())


@pytest.fixture(scope="module")
def tritons() -> FileDescriptorSet:
    command = [sys.executable, "-c", PRINT_TRITONS_DESCRIPTORS]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return FileDescriptorSet.FromString(output)


def test_committed_stubs_are_what_the_protos_generate(tmp_path: Path) -> None:
    """The generated files, all of them and no others, are committed byte for byte."""
    subprocess.run([sys.executable, PROTO / "generate.py", tmp_path], check=True)

    assert stubs(PROTO) == stubs(tmp_path)


def test_inference_service_has_everything_that_tritonclient_has(
    ours: FileDescriptorSet, tritons: FileDescriptorSet
) -> None:
    """Every field, oneof, enum value and RPC of tritonclient is ours, equal on the wire."""
    assert dict(wire(tritons, "inference").items() - wire(ours, "inference").items()) == {}


def test_what_is_tensorflow_servings_is_its_own(ours: FileDescriptorSet) -> None:
    """Each message, field, value and RPC of ours is in its API by that name, equal on the wire."""
    command = [sys.executable, "-c", PRINT_TENSORFLOWS_DESCRIPTORS]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    theirs = wire(FileDescriptorSet.FromString(output), *TENSORFLOWS)
    own = wire(ours, *TENSORFLOWS)
    assert len(own) > 100
    assert dict(own.items() - theirs.items()) == {}
    services = {name for name in theirs if "Service." in name}
    assert services <= own.keys()


def test_nothing_on_the_wire_may_go_again(ours: FileDescriptorSet) -> None:
    """What a change is compared with has all of it: `proto/check.sh --renew` adds what is new."""
    baseline = FileDescriptorSet.FromString((PROTO / "baseline.binpb").read_bytes())
    assert {name for name in names(baseline) if not name.startswith(PROTOBUFS)} == names(ours)


def names(files: FileDescriptorSet) -> set[str]:
    return {one.name for file in files.file for one in elements(file, f".{file.package}")}


def test_everything_on_the_wire_is_commented(ours: FileDescriptorSet) -> None:
    """Every message, field, oneof, enum, enum value, service and RPC has a comment above it."""
    assert [name for file in ours.file for name in uncommented(file)] == []


@pytest.mark.parametrize(
    ("package", "pattern", "generated"),
    [
        ("protobuf", "*_pb2.py", r"^# Protobuf Python Version: (\S+)$"),
        ("grpcio", "*_pb2_grpc.py", r"^GRPC_GENERATED_VERSION = '(\S+)'$"),
    ],
)
def test_stubs_run_on_the_lowest_version_allowed(
    package: str, pattern: str, generated: str
) -> None:
    """No stub was generated for a newer runtime than the project's declared floor."""
    texts = [path.read_text() for path in PROTO.rglob(pattern)]
    needed = [Version(version) for text in texts for version in re.findall(generated, text, re.M)]

    assert len(needed) == len(texts) > 0
    assert max(needed) <= floor(package)
