"""crossrun-serve: reads the command line, starts the server."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossrun_server.app import Config, serve
from crossrun_server.errors import ServingError


def command(
    models: Annotated[Path, typer.Argument(help="Model repository: NAME/1/model.onnx …")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = Config.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks one.")] = Config.port,
    provider: Annotated[str, typer.Option(help="Execution provider.")] = Config.provider,
) -> None:
    """Serve ONNX models over gRPC: Open Inference Protocol and crossrun.v1.Vision."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        asyncio.run(serve(Config(models, host, port, provider), _announce))
    except ServingError as error:
        raise SystemExit(f"crossrun-serve: {error}") from error


def _announce(address: str) -> None:
    print(f"crossrun: serving on {address}", flush=True)  # noqa: T201 - scripts wait for this line


def main() -> None:
    """Run the command."""
    typer.run(command)
