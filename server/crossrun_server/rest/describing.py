"""Words of OpenAPI that the rooms describe themselves with."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

JSON = "application/json"
LIST: Schema = {"type": "array"}
OBJECT: Schema = {"type": "object"}
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
NUMBER: Schema = {"type": "number"}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
PAGE = "text/html"  # instead of a schema
NOTHING = ""  # no body
# What any call may be answered with, whatever it asks.
COMMON = {
    400: "The request is not understood, or cannot be answered.",
    401: "A token or a header is needed that the request does not have.",
    403: "The caller, or the page that asks, may not do this.",
    404: "There is no such model or version.",
    408: "The body has not come in time.",
    409: "There is one of this name already.",
    413: "The body is too large.",
    429: "The server has as much to do as it may; Retry-After says when to come again.",
    431: "The head is too long.",
    500: "The server has failed; its log says how.",
    501: "The server does not do this, or was started without it.",
    503: "The model takes no requests now, or the server stops.",
    504: "The time of grpc-timeout has passed.",
}
DEADLINE = {
    "name": "grpc-timeout",
    "in": "header",
    "description": "How long the client waits: up to 8 digits, and H, M, S, m, u or n, as in 500m.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,8}[HMSmun]$"},
}
ERROR = {"$ref": "#/components/schemas/Error"}
SCHEMAS: dict[str, Schema] = {
    "Error": {
        "type": "object",
        "properties": {"error": TEXT},
        "required": ["error"],
        "additionalProperties": False,
    }
}


def operation(
    name: str,
    summary: str,
    answer: Schema | str = NOTHING,
    *,
    parameters: tuple[Schema, ...] = (),
    body: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:
    """Describe what a method of a path does.

    Args:
        name: of the operation, which no other has.
        summary: what it does.
        answer: schema of the answer, or `PAGE`, or `NOTHING`.
        parameters: of the path and the URL.
        body: schemas by the types that a body may have.
    """
    found: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "parameters": [*parameters, DEADLINE],
        "responses": {"200": {"description": "It is done.", **_content(answer)}} | _errors(),
    }
    if body:
        content = {kind: {"schema": schema} for kind, schema in body.items()}
        found["requestBody"] = {"content": content, "required": True}
    return found


def path(*names: str) -> tuple[Schema, ...]:
    """Describe the parts of a path that may differ."""
    return tuple(
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in names
    )


def query(name: str, schema: Schema, description: str) -> Schema:
    """Describe a parameter of the URL."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _content(answer: Schema | str) -> dict[str, Any]:
    if answer == NOTHING:
        return {}
    if isinstance(answer, str):
        return {"content": {answer: {"schema": TEXT}}}
    return {"content": {JSON: {"schema": answer}}}


def _errors() -> dict[str, Any]:
    content = {JSON: {"schema": ERROR}}
    return {
        str(status): {"description": told, "content": content} for status, told in COMMON.items()
    }
