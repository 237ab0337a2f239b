"""The golden messages, which clients of all languages read and write byte for byte."""

from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

import golden  # of proto/, which an editable install has on the path

FOLDER = golden.GOLDEN
SOURCES = sorted(FOLDER.glob("*.json"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.bin")}


def called() -> list[Descriptor]:
    """What all RPCs take and return."""
    services = [
        service for file in golden.FILES for service in file.DESCRIPTOR.services_by_name.values()
    ]
    methods = [method for service in services for method in service.methods]
    return [type_ for method in methods for type_ in (method.input_type, method.output_type)]


def test_the_committed_bytes_are_what_the_json_says(tmp_path: Path) -> None:
    """All of them, and no others, are committed."""
    golden.generate(tmp_path)
    assert contents(FOLDER) == contents(tmp_path)


def test_every_message_of_an_rpc_is_there() -> None:
    """Requests and answers alike, of inference, pictures, providers and health."""
    there = {source.stem.rpartition(".")[0] for source in SOURCES}
    assert {type_.full_name for type_ in called()} - there == set()


@pytest.mark.parametrize("message", ["InferTensorContents", "InferParameter"])
def test_every_kind_of_value_is_there(message: str) -> None:
    """Each way to carry a tensor's elements, and each kind of parameter."""
    fields = golden.MESSAGES[f"inference.{message}"].DESCRIPTOR.fields
    texts = "".join(source.read_text() for source in SOURCES)
    assert [field.name for field in fields if f'"{field.json_name}"' not in texts] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_message_is_the_same_after_a_round_trip(source: Path) -> None:
    """Its bytes come out as they went in, and its JSON says all that is in them."""
    original = source.with_suffix(".bin").read_bytes()
    message: Message = golden.message_of(source)
    parsed = type(message).FromString(original)
    assert parsed.SerializeToString(deterministic=True) == original
    assert json_format.MessageToJson(parsed) == json_format.MessageToJson(message)


def test_a_file_named_after_no_message_is_refused(tmp_path: Path) -> None:
    """So that a slip of the pen does not drop a case."""
    (tmp_path / "inference.ModelInfer.raw.json").write_text("{}")
    with pytest.raises(KeyError, match="ModelInfer"):
        golden.message_of(tmp_path / "inference.ModelInfer.raw.json")


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    """So that a case says what it means to say."""
    source = tmp_path / "inference.ServerLiveResponse.live.json"
    source.write_text('{"alive": true}')
    with pytest.raises(json_format.ParseError, match="alive"):
        golden.message_of(source)
