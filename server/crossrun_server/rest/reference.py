"""The page that shows the description of the HTTP port: plain HTML, which asks nobody else."""

from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from crossrun_server.rest import openapi

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #8886; padding: .5rem 0 }
h2 { font: 600 1rem ui-monospace, monospace; overflow-wrap: anywhere }
dt { font-family: ui-monospace, monospace }
"""


def routes() -> list[Route]:
    """Return the route of the page."""
    whole = page(openapi.document(asks=False))

    async def docs(_: Request) -> Response:
        return HTMLResponse(whole, headers=HEADERS)

    return [Route("/docs", docs)]


def page(document: dict[str, Any]) -> str:
    """Write a document of OpenAPI as a page."""
    parts = [
        _section(method, path, told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>crossrun: REST</title>'
        f"<style>{STYLE}</style><h1>REST</h1><p>The same as <a href='{openapi.PATH}'>"
        f"{openapi.PATH}</a>, for people.</p>{''.join(parts)}</html>"
    )


def _section(method: str, path: str, told: dict[str, Any]) -> str:
    listed = "".join(
        f"<dt>{escape(one['name'])} <small>({one['in']})</small></dt>"
        f"<dd>{escape(one.get('description', ''))}</dd>"
        for one in told["parameters"]
    )
    bodies = ", ".join(told.get("requestBody", {}).get("content", ()))
    body = f"<p>Body: {escape(bodies)}</p>" if bodies else ""
    return (
        f"<section><h2>{method.upper()} {escape(path)}</h2><p>{escape(told['summary'])}</p>"
        f"{body}<dl>{listed}</dl></section>"
    )
