"""What an HTML report holds."""

import json
from html.parser import HTMLParser
from typing import Any


class Fetched(HTMLParser):
    """Collects whatever a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {k}={v}" for k, v in attrs if k in {"src", "href", "srcset"}]


def plotted(page: str) -> dict[str, Any]:
    """The traces of each plot of a page, by its title."""
    parts = page.split('<script type="application/json">')[1:]
    plots = [json.loads(part.split("</script>")[0]) for part in parts]
    return {plot["title"]: plot["data"] for plot in plots}
