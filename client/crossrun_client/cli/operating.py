"""The commands that look at a server and change what it serves."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from crossrun_client import control, server
from crossrun_client.cli import documents, tables
from crossrun_client.cli.app import AsJson, Model, ModelOption, Models, command
from crossrun_client.connection import Connection
from crossrun_client.errors import ClientError
from crossrun_client.questions import questions
from crossrun_client.swap import Change
from crossrun_client.swap import swap as swap_

SECONDS = 10.0
LOADING = 600.0  # an engine of TensorRT may take minutes


@command(SECONDS)
def status(
    connection: Connection,
    names: Models = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Show the server and its models: what computes them, how much, and how fast.

    On a terminal it goes on until Ctrl-C, and shows what happened since the last look.
    """
    seen = server.read(connection, names or ())
    if as_json:
        documents.show(documents.of_server(seen))
    elif once or not tables.console().is_terminal:
        tables.show(tables.of_server(seen))
    else:
        _follow(connection, names or (), every, seen)


def _follow(
    connection: Connection,
    names: "tuple[str, ...] | list[str]",
    every: float,
    seen: server.ServerState,
) -> None:
    with Live(tables.of_server(seen), console=tables.console(), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                before, seen = seen, server.read(connection, names)
                live.update(tables.of_server(seen, before), refresh=True)
        except KeyboardInterrupt:
            return


@command(SECONDS)
def models(connection: Connection, as_json: AsJson = False) -> None:
    """List the models, with the versions that are known and their states."""
    found = server.models(connection)
    if found is None:
        raise ClientError("the server does not list its models; expected Triton's RepositoryIndex")
    if as_json:
        documents.show([documents.of_model(one) for one in found])
    else:
        tables.show(tables.of_models(found))


@command(LOADING)
def load(
    connection: Connection,
    name: Model,
    config: Annotated[
        Path | None, typer.Option(help="ModelConfig as JSON, instead of the model's config.pbtxt.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load a model as its files are now; if it is loaded, it serves on meanwhile."""
    control.load(connection, name, control.read_config(config) if config else None)
    _loaded(connection, name, as_json=as_json)


@command(LOADING)
def unload(connection: Connection, name: Model, as_json: AsJson = False) -> None:
    """Unload a model; the requests that it has are answered."""
    control.unload(connection, name)
    _loaded(connection, name, as_json=as_json)


def _loaded(connection: Connection, name: str, *, as_json: bool) -> None:
    """Show what the server says of a model now."""
    found = server.models(connection, [name]) or []
    if as_json:
        documents.show([documents.of_model(one) for one in found])
    else:
        tables.show(tables.of_models(found))


@command(SECONDS)
def wait(
    connection: Connection,
    name: ModelOption = "",
) -> None:
    """Wait until the server, or a model, takes requests; exit status 1 after --timeout."""
    control.wait(connection, name, connection.timeout)


@command(LOADING)
def swap(
    connection: Connection,
    name: Model,
    provider: Annotated[
        str, typer.Option(help="Execution providers in order, such as openvino,cpu; or fastest.")
    ] = "",
    version: Annotated[int | None, typer.Option(min=1, help="Version to serve.")] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, int8 or fp16: the files of NAME-int8 or NAME-fp16.")
    ] = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Of the configuration's parameters, such as plan=1x2; may be repeated.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="JPEG or PNG, or a folder of some, to compare; drawn by default."),
    ] = None,
    any_answers: Annotated[
        bool, typer.Option("--any-answers", help="Do not go back if the answers are others.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change a model's provider, version or precision, and go back unless it answers the same.

    No request fails meanwhile. Whatever goes wrong, Ctrl-C included, it serves as before, and the
    exit status is 1.
    """
    change = Change(
        provider, str(version or ""), precision, _parameters(parameter or []), any_answers
    )
    if not change:
        options = "--provider, --version, --precision or --parameter"
        raise typer.BadParameter(f"expected what is to be another: {options}")
    asked = questions(connection, name, images)
    swapped = swap_(connection, name, change, asked, _say)
    if as_json:
        documents.show(documents.of_swap(swapped))
    else:
        tables.show(tables.of_swap(swapped))


def _parameters(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not key or not equals:
            raise typer.BadParameter(f"{text!r}, expected KEY=VALUE", param_hint="--parameter")
    return {key: value for key, _, value in pairs}


def _say(text: str) -> None:
    print(f"crossrun: {text}", file=sys.stderr)  # noqa: T201 - the command's own output
