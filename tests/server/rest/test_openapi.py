"""The description of the HTTP port is true: every path is in it, and answers as it says."""

from pathlib import Path

from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.routing import Route

from crossrun_server.access.gate import AccessConfig, Gate
from crossrun_server.rest import application, openapi
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.port.origins import Origins
from tests.fuzz import http
from tests.support.access import write
from tests.support.rest import ask
from tests.support.running import HTTP, Server, serving


def test_the_document_is_one_of_openapi(resting: Server) -> None:
    """By the specification's own schema; no name is there twice."""
    found = ask(resting, "GET", "/openapi.json").json
    OPENAPI_31_VALIDATOR.validate(found)
    names = [how["operationId"] for one in found["paths"].values() for how in one.values()]
    assert len(names) == len(set(names))


def test_every_route_is_in_the_document() -> None:
    """And the reverse."""
    nothing = dict.fromkeys(("handlers", "limits", "bodies", "models", "failures", "in_flight"))
    calls = Calls(gate=Gate(AccessConfig(), remote=False), **nothing)  # type: ignore[arg-type]
    app = application.application(calls, Origins("127.0.0.1", (), asks=False), page=None)
    routes = {
        (method.lower(), route.path)
        for route in app.routes
        if isinstance(route, Route) and route.path != "/"  # the page is for people
        for method in (route.methods or ())
        if method != "HEAD"
    }
    document = openapi.document(asks=False)
    assert routes == {(how, path) for path, one in document["paths"].items() for how in one}


def test_the_document_tells_of_tokens(two_models: Path, tmp_path: Path) -> None:
    """Where they are asked for; the document itself is open, and names no model."""
    options = (*HTTP, "--auth-tokens", str(write(tmp_path / "tokens")))
    with serving(two_models, tmp_path / "log", *options) as server:
        found = ask(server, "GET", "/openapi.json").json
    assert found["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_people_can_read_it(resting: Server) -> None:
    """On a page that asks nobody else for anything."""
    answer = ask(resting, "GET", "/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"POST /v1/vision/classify" in answer.body
    assert b"src=" not in answer.body


def test_what_is_made_of_the_document_is_answered_as_it_says(resting: Server) -> None:
    """No failure of the server, no status and no body that the document does not have."""
    http.fuzz(resting.http, examples=8)
