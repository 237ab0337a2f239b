"""What commands print on a terminal."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from crossrun_client.server import READY, ModelState, ServerState
from crossrun_client.statistics import Counters
from crossrun_client.swap import Side, Swapped, described
from crossrun_client.vision import Named, Seen

NONE = "–"  # noqa: RUF001 - an en dash, as tables write what is not there
_WIDTH = 140
_STYLES = {READY: "green", "LOADING": "yellow", "UNLOADING": "yellow"}


def console() -> Console:
    """As wide as the terminal; where there is none, wide enough for every table."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(width=_WIDTH, highlight=False)


def show(what: RenderableType) -> None:
    """Print on stdout."""
    console().print(what)


def of_server(now: ServerState, before: ServerState | None = None) -> RenderableType:
    """Show a server and its models: since their load, or what came after an earlier look."""
    front = f", front {now.front}" if now.front else ""
    ready = "ready" if now.ready else "not ready"
    line = Text(f"{now.name} {now.version} at {now.address}{front}, {ready}")
    if now.models is None:
        return Group(line, Text("it does not list its models; name some: crossrun status NAME"))
    reasons = (Text(f"{one.name} {one.version}: {one.reason}") for one in now.models if one.reason)
    return Group(line, _of_states(now, before), *reasons)


def _of_states(now: ServerState, before: ServerState | None) -> Table:
    rate = "Requests" if before is None else "Requests/s"
    figures = (rate, "Failed", "Latency ms", "Queue ms", "Compute ms", "Rows/run")
    table = _table("Model", "State", "Runs on", "Precision", "Lanes", right=figures)
    known = {(one.name, one.version): one.counters for one in (before and before.models) or ()}
    seconds = now.at - before.at if before else None
    for one in now.models or ():
        counted = one.counters
        if counted is not None and before is not None:
            counted = counted.since(known.get((one.name, one.version)))
        table.add_row(*_what_runs(one), *_figures(counted, seconds))
    return table


def _what_runs(one: ModelState) -> Iterable[Text]:
    placed = one.placed
    precision = (placed.precision or placed.computes_in) if placed else ""
    yield Text(f"{one.name} {one.version}".strip())
    yield _state(one)
    yield Text(str(placed) if placed else NONE)
    yield Text(precision or NONE)
    yield Text(one.plan or NONE)


def _figures(counted: Counters | None, seconds: float | None) -> Iterable[str]:
    if counted is None:
        return [NONE] * 6
    count = f"{counted.requests:,}" if seconds is None else f"{counted.requests / seconds:,.1f}"
    times = (counted.latency_ms, counted.queue_ms, counted.compute_ms, counted.rows_a_run)
    return [count, f"{counted.failures:,}", *(NONE if t is None else f"{t:.2f}" for t in times)]


def of_models(found: Iterable[ModelState]) -> Table:
    """Show models, their versions and states."""
    table = _table("Model", "Version", "State", "Why")
    for one in found:
        table.add_row(Text(one.name), one.version or NONE, _state(one), Text(one.reason))
    return table


def of_swap(one: Swapped) -> RenderableType:
    """Show a model before and after a change."""
    table = _table(one.before.loaded.name, "Before", "After")
    for title, *cells in zip(
        ("Version", "Runs on", "Precision", "Latency ms"),
        _of_side(one.before),
        _of_side(one.after),
        strict=True,
    ):
        table.add_row(title, *map(Text, cells))
    verdict = "same answers" if one.alike else "other answers"
    placed = one.after.loaded.placed
    skipped = placed.skipped.items() if placed else ()
    left_out = (Text(f"{name} was left out: {' '.join(why.split())}") for name, why in skipped)
    return Group(table, Text(f"{verdict} to {one.what}: {described(one)}"), *left_out)


def _of_side(one: Side) -> Sequence[str]:
    placed = one.loaded.placed
    precision = (placed.precision or placed.computes_in) if placed else ""
    nodes = str(placed) if placed else NONE
    return ", ".join(one.loaded.versions), nodes, precision or NONE, f"{one.asked.latency_ms:.2f}"


def of_classes(answers: Iterable[tuple[str, Sequence[Named]]]) -> Table:
    """Show the classes of each picture."""
    table = _table("Picture", "Class", right=("Score",))
    for name, classes in answers:
        for at, one in enumerate(classes):
            table.add_row(Text("" if at else name), Text(one.label), f"{one.score:.3f}")
        table.add_section()
    return table


def of_objects(answers: Iterable[tuple[str, Seen]]) -> Table:
    """Show the objects of each picture; boxes are in pixels of the picture."""
    table = _table("Picture", "Label", right=("Score", "ymin", "xmin", "ymax", "xmax"))
    for name, seen in answers:
        for at, one in enumerate(seen.detections):
            edges = (f"{edge:,.1f}" for edge in one.box)
            table.add_row(Text("" if at else name), Text(one.label), f"{one.score:.3f}", *edges)
        if not seen.detections:
            table.add_row(Text(name), "nothing found", *[NONE] * 5)
        table.add_section()
    return table


def _state(one: ModelState) -> Text:
    return Text(one.state, _STYLES.get(one.state, "red"))


def _table(*left: str, right: Iterable[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for title in left:
        table.add_column(title, no_wrap=title == left[0], overflow="fold")
    for title in right:
        table.add_column(title, justify="right")
    return table
