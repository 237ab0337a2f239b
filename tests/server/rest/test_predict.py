"""TensorFlow Serving's REST, and KServe's first: rows and columns, states, metadata."""

from typing import Any

import pytest

from tests.support.rest import Answer, ask
from tests.support.running import Server

ONES = [1] * 16


def predict(server: Server, model: str, body: Any) -> Answer:
    return ask(server, "POST", f"/v1/models/{model}:predict", body)


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("identity_fp32", {"instances": [[1, 2.5], [3, 4]]}, {"predictions": [[1, 2.5], [3, 4]]}),
        ("identity_fp32", {"instances": [{"x": [1]}]}, {"predictions": [[1]]}),
        ("identity_fp32", {"inputs": [[1]]}, {"outputs": [[1]]}),
        ("identity_fp32", {"inputs": {"x": [[0.1]]}}, {"outputs": [[0.1]]}),
        ("identity_fp32", {"signature_name": "", "inputs": [[1]]}, {"outputs": [[1]]}),
        ("identity_fp64", {"instances": [[1e300]]}, {"predictions": [[1e300]]}),
        ("identity_fp16", {"instances": [[1.5]]}, {"predictions": [[1.5]]}),
        ("identity_bool", {"instances": [[True, False]]}, {"predictions": [[True, False]]}),
        ("identity_uint64", {"instances": [[0, 2**64 - 1]]}, {"predictions": [[0, 2**64 - 1]]}),
        ("identity_int64", {"instances": [[-(2**63), 2**63 - 1]]},
         {"predictions": [[-(2**63), 2**63 - 1]]}),
        ("identity_bytes", {"instances": [["é", ""]]}, {"predictions": [["é", ""]]}),
        ("identity_bytes", {"instances": [[{"b64": "w6k="}]]}, {"predictions": [["é"]]}),
        ("scalar", {"inputs": 1.5}, {"outputs": 1.5}),
        ("simple", {"instances": [{"INPUT0": ONES, "INPUT1": ONES}] * 2},
         {"predictions": [{"OUTPUT0": [2] * 16, "OUTPUT1": [0] * 16}] * 2}),
        ("simple", {"inputs": {"INPUT0": [ONES], "INPUT1": [ONES]}},
         {"outputs": {"OUTPUT0": [[2] * 16], "OUTPUT1": [[0] * 16]}}),
        ("counted/versions/1", {"instances": [[1]]}, {"predictions": [[1]]}),
    ],
)  # fmt: skip
def test_rows_and_columns_are_answered_in_their_form(
    resting: Server, model: str, body: Any, expected: Any
) -> None:
    """An output that is alone comes without its name."""
    answer = predict(resting, model, body)
    assert answer.status == 200, answer
    assert answer.json == expected


@pytest.mark.parametrize(
    ("model", "body", "told"),
    [
        ("missing", {"instances": [1]}, "Request for unknown model"),
        ("counted/versions/2", {"instances": [1]}, "Request for unknown model"),
        ("identity_fp32", {}, "one of 'instances' and 'inputs'"),
        ("identity_fp32", {"instances": [[1]], "inputs": [[1]]}, "one of 'instances' and 'inputs'"),
        ("identity_fp32", {"instances": []}, "instances is no list with something in it"),
        ("identity_fp32", {"instances": 1}, "instances is no list with something in it"),
        ("identity_fp32", {"instances": [[1]], "parameters": {}}, "the JSON has 'parameters'"),
        ("identity_fp32", {"instances": [[1]], "signature_name": "x"}, "expected serving_default"),
        ("identity_fp32", {"instances": [[1], [1, 2]]}, "not equally long"),
        ("identity_fp32", {"instances": [["1"]]}, "expected numbers alone"),
        ("identity_fp32", {"instances": [[None]]}, "expected numbers alone"),
        ("identity_fp32", {"instances": [[True]]}, "expected numbers alone"),
        ("identity_fp32", {"instances": [[1e300]]}, "too large for FP32"),
        ("identity_fp32", {"instances": [{"y": [1]}]}, "no input 'y'"),
        ("identity_fp32", {"instances": [{"b64": "/9j/"}]}, "/v1/vision takes encoded pictures"),
        ("identity_int32", {"instances": [[1.5]]}, "expected whole numbers alone"),
        ("identity_int32", {"instances": [[2**31]]}, "expected -2147483648 to 2147483647"),
        ("identity_uint8", {"instances": [[-1]]}, "expected 0 to 255"),
        ("identity_uint64", {"instances": [[-1, 2**63]]}, "expected whole numbers alone"),
        ("identity_bool", {"instances": [[1]]}, "expected true or false alone"),
        ("identity_bytes", {"instances": [[1]]}, "is BYTES, expected texts"),
        ("identity_bytes", {"instances": [[{"b64": "%"}]]}, "b64 has to hold UTF-8"),
        ("identity_bf16", {"instances": [[1]]}, "is BF16"),
        ("simple", {"instances": [ONES]}, "each has to be named"),
        ("simple", {"instances": [{"INPUT0": ONES, "INPUT1": ONES}, {"INPUT0": ONES}]},
         "instances[1] does not have the inputs of instances[0]"),
        ("simple", {"instances": [{"INPUT0": ONES, "INPUT1": ONES}] * 9}, "batch"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_told(resting: Server, model: str, body: Any, told: str) -> None:
    """By a line that names it; a number never becomes another."""
    answer = predict(resting, model, body)
    assert answer.status in (400, 404)
    assert list(answer.json) == ["error"]
    assert told in answer.json["error"]


def test_json_that_is_damaged_is_told(resting: Server) -> None:
    """And JSON that is none, or has a key twice."""
    twice = b'{"instances": [[1]], "instances": [[2]]}'
    for body in (
        b"",
        b"{",
        b"[1]",
        twice,
        b"{NaN",
        b'{"instances": [[NaN, 1e999]]}',
        b"\xff",
        b'{"instances": [[1]]} x',
    ):
        answer = predict(resting, "identity_fp32", body)
        assert answer.status == 400
        assert "JSON" in answer.json["error"]


def test_long_answers_are_whole(resting: Server) -> None:
    """They are written in pieces."""
    for rows, columns in ((32, 3001), (1, 120_000)):
        values = [[at / 7 + row for at in range(columns)] for row in range(rows)]
        answer = predict(resting, "identity_fp64", {"inputs": values})
        assert answer.json == {"outputs": values}


def test_a_model_tells_its_state(resting: Server) -> None:
    """To clients of TensorFlow Serving and of KServe at once."""
    answer = ask(resting, "GET", "/v1/models/counted").json
    assert (answer["name"], answer["ready"]) == ("counted", True)
    ok = {"error_code": "OK", "error_message": ""}
    assert answer["model_version_status"] == [
        {"version": version, "state": "AVAILABLE", "status": ok} for version in ("1", "3")
    ]
    (only,) = ask(resting, "GET", "/v1/models/counted/versions/3").json["model_version_status"]
    assert only["version"] == "3"
    for missing in ("missing", "counted/versions/2"):
        assert ask(resting, "GET", f"/v1/models/{missing}").status == 404
    assert "simple" in ask(resting, "GET", "/v1/models").json["models"]


def test_a_model_tells_what_it_takes(resting: Server) -> None:
    """As a signature of TensorFlow."""
    answer = ask(resting, "GET", "/v1/models/simple/metadata").json
    assert answer["model_spec"] == {"name": "simple", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["INPUT0"]["dtype"] == "DT_INT32"
    dims = signature["outputs"]["OUTPUT1"]["tensor_shape"]["dim"]
    assert [dim["size"] for dim in dims] == ["-1", "16"]
    assert ask(resting, "GET", "/v1/models/missing/metadata").status == 404


def test_what_takes_examples_is_refused(resting: Server) -> None:
    """The text says what to ask instead."""
    answer = ask(resting, "POST", "/v1/models/simple:classify", {"examples": []})
    assert answer.status == 501
    assert "/v1/vision/classify" in answer.json["error"]


def test_other_methods_and_paths_are_told(resting: Server) -> None:
    """By the error's form of all others."""
    assert ask(resting, "GET", "/v1/models/simple:predict").status in (404, 405)
    answer = ask(resting, "DELETE", "/v1/models")
    assert answer.status == 405
    assert answer.headers["allow"]
    assert ask(resting, "GET", "/v1/nothing").json == {"error": "GET /v1/nothing: Not Found"}
    assert ask(resting, "HEAD", "/v1/models").body == b""
