"""Pictures over HTTP, as curl sends them, and what comes back."""

import base64
import json
import re
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from crossrun.v1 import vision_pb2 as pb
from tests.support.pictures import encoded, plain, scene
from tests.support.rest import Answer, ask
from tests.support.running import Server
from tests.support.vision import classify

PATH = "/v1/vision/classify"
RED = plain(255, 0, 0)
JSON = {"content-type": "application/json"}
BOUNDARY = "----a"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def sent(server: Server, query: str = "?model=colours", body: Any = RED, **headers: str) -> Answer:
    return ask(server, "POST", f"{PATH}{query}", body, headers=headers)


def form(*parts: tuple[str, bytes]) -> bytes:
    """A form as curl writes it."""
    begin = f'--{BOUNDARY}\r\ncontent-disposition: form-data; filename="a"; name="%s"\r\n\r\n'
    fields = b"".join((begin % name).encode() + content + b"\r\n" for name, content in parts)
    return fields + f"--{BOUNDARY}--\r\n".encode()


def labels(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [one["classes"][0]["label"] for one in answer.json["results"]]


def test_the_answer_is_that_of_grpc(resting: Server) -> None:
    """Every field by its name, numbers as numbers, zeros too; the times are in a header as well."""
    answer = sent(resting)
    with grpc.insecure_channel(resting.address) as channel:
        expected = classify(channel, RED)
    found = json_format.ParseDict(answer.json, pb.ClassifyResponse())
    assert found.results == expected.results
    assert answer.json["results"][0]["classes"][1]["score"] == 0
    assert isinstance(answer.json["timings"]["decode_us"], int)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server-timing"].startswith("decode;dur=")


@pytest.mark.parametrize(
    "kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded", "x"]
)
def test_a_body_is_a_picture(resting: Server, kind: str) -> None:
    """Whatever its type says: `curl --data-binary` says that it is a form."""
    assert labels(sent(resting, **{"content-type": kind})) == ["red"]


def test_a_form_has_pictures_and_fields(resting: Server) -> None:
    """In their order; fields may be in the URL, too."""
    body = form(("image", RED), ("top_k", b"1"), ("image", plain(0, 0, 255)))
    answer = sent(resting, body=body, **FORM)
    assert labels(answer) == ["red", "blue"]
    assert [len(one["classes"]) for one in answer.json["results"]] == [1, 1]


def test_json_has_pictures_in_base64(resting: Server) -> None:
    """And the fields by their names."""
    images = [{"b64": base64.b64encode(one).decode()} for one in (RED, plain(0, 255, 0))]
    body = {"model": "colours", "images": images, "top_k": 1, "resize": "crop"}
    assert labels(sent(resting, "", json.dumps(body), **JSON)) == ["red", "green"]


@pytest.mark.parametrize(
    ("query", "body", "headers", "told"),
    [
        ("?model=missing", RED, {}, "Request for unknown model"),
        ("?model=colours&top_k=x", RED, {}, "top_k is not understood"),
        ("?model=colours&top_k=-1", RED, {}, "top_k is not understood"),
        ("?model=colours&topk=1", RED, {}, "'topk' is not known, expected model, version, top_k"),
        ("?model=colours&images=1", RED, {}, "'images' is not known"),
        ("?model=colours&model=b", RED, {}, "model is given twice"),
        ("?model=colours&resize=big", RED, {}, "expected stretch, crop, letterbox"),
        ("?model=colours", b"", {}, "images is empty"),
        ("?model=colours", b"text", {}, "images[0]: neither JPEG nor PNG"),
        ("?model=colours", form(("picture", RED)), FORM, "'picture' is not known"),
        ("?model=colours", form(("image", RED))[:-10], FORM, "multipart/form-data"),
        ("?model=colours", b"", FORM, "multipart/form-data"),
        ("?model=colours", form(), {"content-type": "multipart/form-data"}, "without a boundary"),
        ("?model=colours", form(("model", b"a"), ("image", RED)), FORM, "both in the URL and in"),
        ("?model=colours", "{", JSON, "the body is no JSON"),
        ("?model=colours", "[]", JSON, "the JSON is no object"),
        ("?model=colours", '{"images": {}}', JSON, "images is no list"),
        ("?model=colours", '{"images": [{"b64": 1}]}', JSON, 'images[0] is not {"b64"'),
        ("?model=colours", '{"images": [{"b64": "%"}]}', JSON, "images[0] is no base64"),
        ("?model=colours", '{"top_k": 1.5}', JSON, "top_k is not understood"),
        ("?model=colours", '{"top_k": {}}', JSON, "top_k is not understood"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_told(
    resting: Server, query: str, body: Any, headers: dict[str, str], told: str
) -> None:
    """By a line that names it."""
    answer = sent(resting, query, body, **headers)
    assert answer.status in (400, 404), answer
    assert told in answer.json["error"]


def test_objects_are_found(finding: Server) -> None:
    """With thresholds, labels and tiles as parameters."""
    server = finding
    path = (
        "/v1/vision/detect?model=finder&min_score=0.1&tiles.columns=2&tiles.rows=1&resize=stretch"
    )
    answer = ask(server, "POST", path, encoded(scene()))
    assert answer.status == 200, answer
    (found,) = answer.json["results"]
    assert (found["width"], found["height"]) == scene().size
    assert {"index", "label", "score", "box"} == found["detections"][0].keys()
    for wrong in ("tiles=2", "tiles.columns=x", "min_score=2", "labels=nothing"):
        answer = ask(server, "POST", f"/v1/vision/detect?model=finder&{wrong}", RED)
        assert answer.status == 400
        assert re.split("[.=]", wrong)[0].rstrip("s") in answer.json["error"]
