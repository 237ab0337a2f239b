"""The paths below /v2: what the conformance cases, which come by a client, cannot send."""

import json
from typing import Any

import pytest

from tests.support.rest import Answer, ask
from tests.support.running import Server

HEAD_SIZE = "inference-header-content-length"
LOAD, REGION = "/v2/repository/models/simple/load", "/v2/systemsharedmemory/region/a/register"
ONE: dict[str, Any] = {"name": "x", "shape": [1, 1], "datatype": "FP32"}
NAN = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [NaN, -Infinity]}]}'


def infer(
    server: Server, body: Any, model: str = "identity_fp32", size: object = None, **headers: str
) -> Answer:
    named = headers if size is None else {HEAD_SIZE: str(size), **headers}
    return ask(server, "POST", f"/v2/models/{model}/infer", body, headers=named)


def one(data: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": [ONE | {"data": data} | more]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[" * 1_000_000, "JSON has more than"),
        (b"[" * 100_000, "JSON"),
        (b'{"inputs": [], "inputs": []}', "a key twice"),
        (b'{"inputs": []} x', "no JSON"),
        ([], "no object"),
        ({"inputs": {}}, "'inputs' is no list"),
        ({"inputs": [1]}, "inputs[0] is no object"),
        ({"colour": 1}, "'colour'"),
        ({"id": 1}, "'id' is 1"),
        (one([1]) | {"model_name": "simple"}, "'simple', expected 'identity_fp32'"),
        (one([1]) | {"model_name": None}, "'model_name' is None, expected a text"),
        (one([1.5], datatype="INT32"), "'x' is INT32, expected whole numbers"),
        (one([1, 2]), "[1, 1] needs 1 values, got 2"),
        (one([[[1]]]), "the lists have the shape [1, 1, 1]"),
        (one([[1], [1, 2]], shape=[2, 2]), "not equally long"),
        (one(["a"]), "'x' is FP32, expected numbers"),
        (one([1e39]), "too large for FP32"),
        (one([1], shape="1"), "has shape '1'"),
        (one([1], shape=[2**70]), "has shape"),
        (one([1], datatype=7), "has datatype 7"),
        (one([1], datatype="FP31"), "has datatype 'FP31', expected FP32"),
        (one([1], parameters=[]), "'parameters' of input 'x' are no object"),
        (one([1], parameters={"a": None}), "'a' of input 'x' is None"),
        (one([1], parameters={"binary_data_size": 4}), "both 'data' and 'binary_data_size'"),
        ({"inputs": [ONE]}, "input 'x' has no 'data'"),
        (one([1]) | {"parameters": {"binary_data_output": 1}}, "expected true or false"),
        (one([1]) | {"outputs": [{"name": "y", "data": []}]}, "'data'"),
    ],
)
def test_json_that_is_wrong_is_told(resting: Server, body: Any, told: str) -> None:
    """By a line that names what is wrong."""
    answer = infer(resting, body)
    assert answer.status == 400, answer
    assert told in answer.json["error"]


@pytest.mark.parametrize(
    ("size", "behind", "told"),
    [
        (None, b"abcd", "no JSON"),
        ("x", b"abcd", HEAD_SIZE),
        ("-1", b"abcd", HEAD_SIZE),
        (10**9, b"abcd", HEAD_SIZE),
        ("9" * 5000, b"abcd", HEAD_SIZE),
        (3, b"abcd", "no JSON"),
        ("right", b"abc", "'x' has 4 bytes behind the JSON, but only 3"),
        ("right", b"abcde", "1 bytes are left behind the binary tensors of the inputs x"),
    ],
)
def test_bytes_behind_the_json_are_held_to_what_it_says(
    resting: Server, size: Any, behind: bytes, told: str
) -> None:
    """A size that lies is told, and nothing is read beyond the end."""
    head = json.dumps({"inputs": [ONE | {"parameters": {"binary_data_size": 4}}]}).encode()
    answer = infer(resting, head + behind, size=len(head) if size == "right" else size)
    assert answer.status == 400
    assert told in answer.json["error"]


@pytest.mark.parametrize(
    ("model", "datatype", "data"),
    [
        ("identity_int64", "INT64", [2**63 - 1, -(2**63)]),
        ("identity_uint64", "UINT64", [2**64 - 1, 2**53 + 1]),
        ("identity_fp64", "FP64", [0.1, 1e308]),
        ("identity_fp16", "FP16", [0.5, 65504.0]),
        ("identity_bool", "BOOL", [True, False]),
        ("identity_bytes", "BYTES", ["é", ""]),
    ],
)
def test_values_are_exact(resting: Server, model: str, datatype: str, data: list[Any]) -> None:
    """Whole numbers beyond 2^53, too; nested or not, they come back in one flat list."""
    for form in (data, [data]):
        sent = {"name": "x", "shape": [1, 2], "datatype": datatype, "data": form}
        (output,) = infer(resting, {"inputs": [sent]}, model).json["outputs"]
        assert output == {"name": "y", "datatype": datatype, "shape": [1, 2], "data": data}


def test_numbers_that_are_none_come_and_go(resting: Server) -> None:
    """As Python's json and Triton's clients write them."""
    answer = infer(resting, NAN)
    assert b'"data":[NaN,-Infinity]' in answer.body.replace(b" ", b"")


def test_a_body_may_be_one_tensor(resting: Server) -> None:
    """Without JSON, of a model that has one input and leaves one size open."""
    answer = infer(resting, bytes(8), size=0)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    head = json.loads(answer.body[: int(answer.headers[HEAD_SIZE])])
    assert head["outputs"][0]["shape"] == [1, 2]
    assert answer.body.endswith(bytes(8))
    assert "model of one input" in infer(resting, bytes(8), "simple", size=0).json["error"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/v2/repository/index", {"ready": 1}, "'ready' is 1, expected true or false"),
        (
            "/v2/repository/models/simple/load",
            {"parameters": {"file:1/m": "*"}},
            "no file in base64",
        ),
        (LOAD, {"parameters": {"config": None}}, "'config'"),
        (REGION, {"key": "/a"}, "no 'byte_size'"),
        (
            "/v2/systemsharedmemory/region/a/register",
            {"key": "/a", "byte_size": -1},
            "does not fit",
        ),
        ("/v2/cudasharedmemory/region/a/register", {"raw_handle": {"b64": "*"}}, "no base64"),
        ("/v2/trace/setting", {"trace_rate": 1}, "'trace_rate' is 1, expected a text"),
        ("/v2/logging", {"log_info": []}, "'log_info' is []"),
        ("/v2/logging", {"colour": "red"}, "colour"),
    ],
)
def test_settings_that_are_wrong_are_told(resting: Server, path: str, body: Any, told: str) -> None:
    """By a line that names them."""
    answer = ask(resting, "POST", path, body)
    assert answer.status == 400, answer
    assert told in answer.json["error"]
