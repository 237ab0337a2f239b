"""Requests and answers of an inference over HTTP. Knows no connection.

A raw tensor goes behind the JSON and a typed one into it; outputs come back as the inputs went.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.datatypes import TYPED

MOST_VALUES = 500_000
HEAD_SIZE = "inference-header-content-length"


def written(message: pb.ModelInferRequest) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request."""
    for tensor in message.inputs:
        for field, values in tensor.contents.ListFields():
            if TYPED.get(tensor.datatype) != field.name:
                pytest.skip("HTTP has no fields of types")
            if len(values) > MOST_VALUES:
                pytest.skip("large tensors are no JSON")
    raw = list(message.raw_input_contents)
    if raw and any(tensor.HasField("contents") for tensor in message.inputs):
        pytest.skip("HTTP has no tensor that is both raw and typed")
    sent: dict[str, Any] = {"inputs": [_input(tensor, raw) for tensor in message.inputs]}
    if message.id:
        sent["id"] = message.id
    if message.outputs:
        sent["outputs"] = [
            {"name": one.name, "parameters": _parameters(one)} for one in message.outputs
        ]
    binary = not any(tensor.HasField("contents") for tensor in message.inputs)
    sent["parameters"] = _parameters(message) | {"binary_data_output": binary}
    head = json.dumps(sent).encode()
    return b"".join((head, *message.raw_input_contents)), {HEAD_SIZE: str(len(head))}


def read(headers: Mapping[str, str], body: bytes) -> pb.ModelInferResponse:
    """Read an answer."""
    size = int(headers.get(HEAD_SIZE, len(body)))
    found, at = json.loads(body[:size]), size
    answer = pb.ModelInferResponse(
        model_name=found["model_name"],
        model_version=found["model_version"],
        id=found.get("id", ""),
    )
    for one in found["outputs"]:
        given = one.get("parameters", {})
        length = given.pop("binary_data_size", None)
        output = answer.outputs.add(name=one["name"], datatype=one["datatype"], shape=one["shape"])
        for name, content in given.items():
            field = "string_param" if isinstance(content, str) else "int64_param"
            setattr(output.parameters[name], field, content)
        if "data" in one:
            data = [d.encode() if isinstance(d, str) else d for d in one["data"]]
            getattr(output.contents, TYPED[output.datatype]).extend(data)
        else:
            answer.raw_output_contents.append(body[at : at + (length or 0)])
            at += length or 0
    assert at == len(body), "bytes follow the last output"
    return answer


def value(one: Any) -> Any:
    """Return the value of a parameter; None if it has none."""
    chosen = one.WhichOneof("parameter_choice")
    return getattr(one, chosen) if chosen else None


def _parameters(owner: Any) -> dict[str, Any]:
    return {name: value(one) for name, one in owner.parameters.items()}


def _input(tensor: pb.ModelInferRequest.InferInputTensor, raw: list[bytes]) -> dict[str, Any]:
    """Describe an input; takes its raw content off the list."""
    found = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    parameters = _parameters(tensor)
    if tensor.HasField("contents"):
        data = [one for _, values in tensor.contents.ListFields() for one in values]
        found["data"] = [_text(one) if isinstance(one, bytes) else one for one in data]
    elif "shared_memory_region" not in parameters and raw:
        parameters["binary_data_size"] = len(raw.pop(0))
    return found | {"parameters": parameters}


def _text(one: bytes) -> str:
    try:
        return one.decode()
    except UnicodeDecodeError:
        pytest.skip("JSON has text only")
