"""Web pages elsewhere do not get at a server on their reader's machine."""

from pathlib import Path

import pytest

from tests.support.rest import ask, told
from tests.support.running import HTTP, Server, serving

PAGE = "https://pages.example"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "file://"])
def test_a_foreign_page_may_not_ask(resting: Server, origin: str) -> None:
    """Not even what changes nothing: its request costs time all the same."""
    for method in ("GET", "POST", "OPTIONS"):
        answer = ask(resting, method, "/v1/models", headers={"origin": origin})
        assert answer.status == 403
        assert "--http-cors" in answer.json["error"]
        assert "access-control-allow-origin" not in answer.headers


def test_the_servers_own_pages_may_ask(resting: Server) -> None:
    """Their origin is the address that was asked."""
    assert ask(resting, "GET", "/v1/models", headers={"origin": resting.http}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "[::2]:80", "[", "a b"]
)
def test_a_server_on_this_machine_has_no_other_name(resting: Server, host: str) -> None:
    """A page whose name leads to this machine (DNS rebinding) would be one of the server's own."""
    origin = f"http://{host}"
    answer = ask(resting, "GET", "/v1/models", headers={"host": host, "origin": origin})
    assert answer.status == 403
    assert host in answer.json["error"]


@pytest.mark.parametrize(
    "host", ["localhost:8000", "LOCALHOST", "a.localhost", "127.0.0.2:1", "[::1]:8000"]
)
def test_names_of_this_machine_are_the_servers(resting: Server, host: str) -> None:
    """With any port: it may be forwarded."""
    assert ask(resting, "GET", "/v1/models", headers={"host": host}).status == 200


def test_a_name_is_said_once(resting: Server) -> None:
    """Two readers might take two of them."""
    request = (
        b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\nconnection: close\r\n\r\n"
    )
    assert told(resting, request).startswith(b"HTTP/1.1 403")


def test_pages_that_are_named_may_ask(two_models: Path, tmp_path: Path) -> None:
    """And read the answers; others may not, and the page's host is a name of the server."""
    with serving(two_models, tmp_path / "log", *HTTP, "--http-cors", PAGE) as server:
        answer = ask(server, "GET", "/v1/models", headers={"origin": PAGE})
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        asking = {"origin": PAGE, "access-control-request-method": "POST"}
        assert ask(server, "OPTIONS", "/v1/models", headers=asking).status == 200
        assert ask(server, "GET", "/v1/models", headers={"origin": "http://evil"}).status == 403
        assert ask(server, "GET", "/v1/models", headers={"host": "pages.example"}).status == 200
        assert ask(server, "GET", "/v1/models", headers={"host": "evil"}).status == 403
