"""Draws what imports what into docs/architecture.md: `.venv/bin/python docs/imports.py`.

A node is a folder of an area, or a module that lies beside the folders. An arrow is left out if
other arrows lead the same way, so what remains shows the layers.
"""

from pathlib import Path

import grimp

PAGE = Path(__file__).parent / "architecture.md"
AREAS = ("server/crossrun_server", "bench/crossrun_bench")

Arrows = dict[str, set[str]]  # what a node imports


def drawn(page: str) -> str:
    """Return a page with the maps between its markers drawn anew.

    Raises:
        ValueError: an area does not have its markers once.
    """
    for area in AREAS:
        begin, end = f"<!-- imports of {area} -->\n", f"<!-- end of {area} -->"
        if (page.count(begin), page.count(end)) != (1, 1):
            raise ValueError(f"expected one map between {begin.strip()} and {end}")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{mermaid(area)}{end}{rest.partition(end)[2]}"
    return page


def mermaid(area: str) -> str:
    """Draw an area as Mermaid text, which GitHub renders."""
    folder = Path(__file__).parents[1] / area
    kept = reduced(arrows(folder.name))
    nodes = sorted(kept.keys() | {other for others in kept.values() for other in others})
    lines = [f'    {node}["{_label(folder, node)}"]' for node in nodes]
    lines += [f"    {node} --> {other}" for node in sorted(kept) for other in sorted(kept[node])]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def arrows(package: str) -> Arrows:
    """Find which children of a package import which others."""
    graph = grimp.build_graph(package, cache_dir=None)
    found: Arrows = {}
    for module in sorted(graph.modules):
        for imported in graph.find_modules_directly_imported_by(module):
            node, other = _child(module), _child(imported)
            if node and other and node != other:
                found.setdefault(node, set()).add(other)
    return found


def reduced(found: Arrows) -> Arrows:
    """Leave out every arrow whose end is reached without it."""
    kept = {node: set(others) for node, others in found.items()}
    for node in sorted(kept):
        for other in sorted(kept[node]):
            kept[node].remove(other)
            if other not in _reached(kept, node):
                kept[node].add(other)
    return kept


def _reached(found: Arrows, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = found.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def _child(module: str) -> str:
    """The child of the package that a module lies in; empty for the package itself."""
    return next(iter(module.split(".")[1:]), "")


def _label(folder: Path, node: str) -> str:
    return f"{node}/" if (folder / node).is_dir() else f"{node}.py"


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
