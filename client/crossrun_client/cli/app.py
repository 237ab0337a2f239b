"""The program that commands belong to, and the options that each has to reach a server."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from crossrun_client import server
from crossrun_client.connection import Target, connected
from crossrun_client.errors import ClientError

DEFAULT = "localhost:8001"
_COMPLETION_S = 2.0

app = typer.Typer(
    help="Operate a server: see its models, load them, swap them, and ask them about pictures.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _connection(  # what every command takes beside its own
    *,
    address: Annotated[
        str,
        typer.Option(
            envvar="CROSSRUN_ADDRESS",
            help="HOST:PORT of the server, or grpcs://HOST:PORT for TLS with the system's roots.",
        ),
    ] = DEFAULT,
    tls_roots: Annotated[
        Path | None,
        typer.Option(
            envvar="CROSSRUN_TLS_ROOTS", help="PEM file of the authorities to trust: asks for TLS."
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(envvar="CROSSRUN_TLS_CERT", help="PEM file of this client's certificate."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(envvar="CROSSRUN_TLS_KEY", help="PEM file of its key.")
    ] = None,
    token: Annotated[
        str, typer.Option(envvar="CROSSRUN_TOKEN", help="Token to show.", show_default=False)
    ] = "",
) -> Target:
    return Target(address, tls_roots, tls_cert, tls_key, token)


def command(timeout: float) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function whose first argument is a connection to the server.

    Args:
        timeout: seconds for an answer, unless --timeout says otherwise.
    """
    option = typer.Option("--timeout", min=0.001, help="Seconds to wait for an answer.")
    seconds = inspect.Parameter(
        "timeout",
        inspect.Parameter.KEYWORD_ONLY,
        default=timeout,
        annotation=Annotated[float, option],
    )
    shared = inspect.signature(_connection).parameters

    def register(function: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(function).parameters.values()

        @wraps(function)
        def run(**given: Any) -> None:
            target = _connection(**{name: given.pop(name) for name in shared})
            with connected(target, given.pop("timeout")) as connection:
                function(connection, **given)

        keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        parameters = [*keywords, *shared.values(), seconds]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        registered: Callable[..., None] = app.command()(run)
        return registered

    return register


def _models(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a model from the server; nothing if that cannot be asked."""
    given = {name: context.params.get(name) for name in inspect.signature(_connection).parameters}
    try:
        target = _connection(**{name: value for name, value in given.items() if value})
        with connected(target, _COMPLETION_S) as connection:
            found = server.models(connection) or []
    except ClientError:
        return []
    return sorted({model.name for model in found if model.name.startswith(incomplete)})


Model = Annotated[str, typer.Argument(help="Name of the model.", autocompletion=_models)]
Models = Annotated[
    list[str] | None,
    typer.Argument(
        help="Names of models; all by default.", autocompletion=_models, show_default=False
    ),
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Name of a model.", autocompletion=_models)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
