"""crossrun-serve: reads the command line, starts the server."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossrun_server import listing
from crossrun_server.app import Config, serve
from crossrun_server.errors import ServingError
from crossrun_server.modes import Mode, Policy


def _list_providers(wanted: bool) -> None:
    if wanted:
        typer.echo("\n".join(listing.lines()))
        raise typer.Exit


def command(
    models: Annotated[Path, typer.Argument(help="Model repository: NAME/1/model.onnx …")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = Config.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks one.")] = Config.port,
    provider: Annotated[
        str,
        typer.Option(help="Execution providers in order: cpu, cuda, openvino,cpu …, or auto."),
    ] = Config.provider,
    provider_option: Annotated[
        list[str] | None,
        typer.Option(help="Option of a provider, as openvino.device_type=GPU; repeatable."),
    ] = None,
    list_providers: Annotated[  # noqa: ARG001 - its callback has acted
        bool,
        typer.Option(
            "--list-providers",
            callback=_list_providers,
            is_eager=True,
            help="Try every execution provider on this machine, tell which can run, and exit.",
        ),
    ] = False,
    shared_memory: Annotated[
        bool,
        typer.Option(
            "--shared-memory",
            "--allow-client-shm",
            help="Let clients keep tensors in system shared memory; for clients that are trusted.",
        ),
    ] = Config.shared_memory,
    server_name: Annotated[str, typer.Option(help="Name in ServerMetadata.")] = Config.server_name,
    model_control_mode: Annotated[
        Mode,
        typer.Option(help="What is loaded: all at the start; what changes; what is asked for."),
    ] = Policy.mode,
    load_model: Annotated[
        list[str] | None, typer.Option(help="With explicit: load it at the start; '*' is all.")
    ] = None,
    repository_poll_secs: Annotated[
        int, typer.Option(min=1, help="With poll: seconds from one look to the next.")
    ] = Policy.poll_seconds,
    exit_on_error: Annotated[
        bool, typer.Option(help="End where a model cannot be loaded at the start.")
    ] = Policy.exit_on_error,
) -> None:
    """Serve ONNX models over gRPC: Open Inference Protocol and crossrun.v1.Vision."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    control = Policy(
        model_control_mode, tuple(load_model or ()), repository_poll_secs, exit_on_error
    )
    config = Config(
        models,
        host,
        port,
        provider,
        tuple(provider_option or ()),
        shared_memory,
        server_name,
        control,
    )
    try:
        asyncio.run(serve(config, _announce))
    except ServingError as error:
        raise SystemExit(f"crossrun-serve: {error}") from error


def _announce(address: str) -> None:
    print(f"crossrun: serving on {address}", flush=True)  # noqa: T201 - scripts wait for this line


def main() -> None:
    """Run the command."""
    typer.run(command)
