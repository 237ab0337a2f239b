"""Every field of config.pbtxt works, is refused or is passed over aloud; the docs say which."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from crossrun.oip import grpc_service_pb2
from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import config, fields
from tests.support.running import ROOT

TABLES = ROOT / "docs" / "triton-compatibility.md"
ROW = re.compile(r"^\| `([\w.]+)` \| ([\w ]+) \|.*\| `(tests/[\w/]+\.py)::(test_\w+)` \|$", re.M)
STATUS = {
    **dict.fromkeys(fields.WORKS, "works"),
    **dict.fromkeys(fields.REFUSED, "refused"),
    **dict.fromkeys(fields.IGNORED, "passed over"),
}


def leaves(message: Any, prefix: str = "") -> Iterator[str]:
    """Name every field of a message that is no message itself."""
    for field in message.fields:
        inside = field.message_type
        if inside and inside.fields and not inside.GetOptions().map_entry:
            yield from leaves(inside, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def entry(leaf: str) -> str:
    """Find the one entry of the table that a field falls under."""
    (found,) = (name for name in fields.ALL if leaf == name or leaf.startswith(f"{name}."))
    return found


LEAVES = list(leaves(pb.ModelConfig.DESCRIPTOR))


def only(leaf: str) -> pb.ModelConfig:
    """Make a configuration in which one field is set, to something that is not its default."""
    proto = pb.ModelConfig()
    message: Message = proto
    *parents, last = leaf.split(".")
    for name in parents:
        child = getattr(message, name)
        message = child.add() if message.DESCRIPTOR.fields_by_name[name].is_repeated else child
    fill(message, message.DESCRIPTOR.fields_by_name[last])
    return proto


def fill(message: Message, field: Any) -> None:
    inside = field.message_type
    if inside and inside.GetOptions().map_entry:
        entries = getattr(message, field.name)
        if inside.fields_by_name["value"].message_type:
            entries["1" if inside.fields_by_name["key"].cpp_type == 9 else 1].SetInParent()
        else:
            entries["1"] = "1"
        return
    value = {7: True, 9: "a", 10: None}.get(field.cpp_type, 1)
    if inside:
        getattr(message, field.name).SetInParent()
    elif field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def read(leaf: str, folder: Path) -> pb.ModelConfig | None:
    (folder / "config.pbtxt").write_text(text_format.MessageToString(only(leaf)))
    return config.read(folder)


def test_every_field_is_in_the_table_once() -> None:
    """A field of Triton's ModelConfig is never passed over in silence, nor listed in vain."""
    assert {entry(leaf) for leaf in LEAVES} == fields.ALL


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if entry(leaf) in fields.REFUSED])
def test_what_is_refused_is_named(leaf: str, tmp_path: Path) -> None:
    """A field that would change the answers stops the load."""
    with pytest.raises(LoadError, match=f"{re.escape(entry(leaf))} is not supported"):
        read(leaf, tmp_path)


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if entry(leaf) in fields.IGNORED])
def test_what_is_passed_over_is_logged(
    leaf: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A field that only tunes is read and has no effect, and the log says so."""
    with caplog.at_level(logging.WARNING):
        assert read(leaf, tmp_path) is not None
    assert f"{tmp_path.name}: {entry(leaf)} in config.pbtxt has no effect" in caplog.text


def rows(heading: str) -> dict[str, tuple[str, str, str]]:
    """Read a table of the document: name → (status, test file, test)."""
    section = (
        TABLES.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    )
    return {name: (status, file, test) for name, status, file, test in ROW.findall(section)}


def test_the_docs_list_every_field_with_its_status() -> None:
    """The table of config.pbtxt in docs/triton-compatibility.md is the server's own."""
    assert {name: status for name, (status, _, _) in rows("config.pbtxt").items()} == STATUS


def test_the_docs_list_every_rpc() -> None:
    """The table of RPCs in docs/triton-compatibility.md holds Triton's twenty."""
    service = grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert set(rows("RPCs")) == {method.name for method in service.methods}


@pytest.mark.parametrize("heading", ["config.pbtxt", "RPCs"])
def test_a_test_backs_each_line_of_the_docs(heading: str) -> None:
    """Each row names a test that is there."""
    for name, (_, file, test) in rows(heading).items():
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), (
            f"{name}: {file}::{test}"
        )
