"""crossrun-serve: reads the command line and starts the server."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated

import typer

from crossrun_server import tune
from crossrun_server.access import token_file
from crossrun_server.access.callers import ALL
from crossrun_server.access.gate import AccessConfig
from crossrun_server.app import Config, serve
from crossrun_server.errors import ServingError
from crossrun_server.fronts.certificates import TlsOptions
from crossrun_server.fronts.choice import FrontName
from crossrun_server.fronts.limits import NEVER, Limits
from crossrun_server.models.modes import LoadPolicy, Mode
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.runtime import inventory, providers
from crossrun_server.telemetry import logs
from crossrun_server.vision.picture_limits import PictureLimits
from crossrun_server.workers import supervisor


def _list_providers(wanted: bool) -> None:
    if wanted:
        typer.echo("\n".join(inventory.lines()))
        raise typer.Exit


def command(
    models: Annotated[Path, typer.Argument(help="Model repository: NAME/1/model.onnx …")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = Config.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = Config.port,
    allow_http: Annotated[bool, typer.Option(help="Serve REST and the page.")] = Config.http,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of REST and the page; 0 picks a free port.")
    ] = Config.http_port,
    http_cors: Annotated[
        list[str],
        typer.Option(
            help="Repeatable: origin of web pages that may ask, such as https://example.org; "
            "'*' is any.",
            show_default=False,
        ),
    ] = list(Config.http_cors),  # noqa: B006 - typer copies it
    page: Annotated[bool, typer.Option(help="Serve the page at / of REST.")] = Config.page,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that serve on the port together; Linux only.")
    ] = 1,
    front: Annotated[
        FrontName,
        typer.Option(help="Front end: native is faster; auto takes it where it is installed."),
    ] = Config.front,
    provider: Annotated[
        str,
        typer.Option(
            help="Execution providers in order: cpu, cuda, openvino,cpu …; or auto; or fastest, "
            "fastest:cpu,openvino …, which measures them."
        ),
    ] = Config.provider,
    provider_option: Annotated[
        list[str] | None,
        typer.Option(help="Option of a provider, such as openvino.device_type=GPU; repeatable."),
    ] = None,
    proof_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest difference allowed between an answer and the model's proof.npz.",
            show_default="the proof's own",
        ),
    ] = None,
    list_providers: Annotated[  # noqa: ARG001 - its callback has acted
        bool,
        typer.Option(
            "--list-providers",
            callback=_list_providers,
            is_eager=True,
            help="Try every execution provider on this machine, say which can run, and exit.",
        ),
    ] = False,
    max_request_pictures: Annotated[
        int, typer.Option(min=1, help="Pictures in a request to Classify or Detect.")
    ] = PictureLimits.pictures,
    max_request_megapixels: Annotated[
        int, typer.Option(min=1, help="Megapixels of all pictures in a request.")
    ] = PictureLimits.megapixels,
    shared_memory: Annotated[
        bool,
        typer.Option(
            "--shared-memory",
            help="Let clients keep tensors in system shared memory; only for clients you trust.",
        ),
    ] = Config.shared_memory,
    shared_memory_prefix: Annotated[
        str,
        typer.Option(
            help="With which the name of a client's shared memory object has to begin.",
            show_default=False,
        ),
    ] = Config.shared_memory_prefix,
    auth_tokens: Annotated[
        Path | None,
        typer.Option(help="File of tokens and certificates that are let in; docs/security.md."),
    ] = AccessConfig.tokens,
    grpc_restricted_protocol: Annotated[
        list[str],
        typer.Option(
            help="Repeatable: PROTOCOL,…:KEY=VALUE lets in whoever sends the header "
            "triton-grpc-protocol-KEY.",
            show_default=False,
        ),
    ] = list(AccessConfig.restricted),  # noqa: B006 - typer copies it
    allow_remote_control: Annotated[
        bool,
        typer.Option(
            "--allow-remote-control",
            help="Without tokens, let everybody load models, use shared memory and change trace "
            "and log settings, even if other machines can reach --host.",
        ),
    ] = AccessConfig.remote_control,
    allow_model_upload: Annotated[
        bool,
        typer.Option(
            "--allow-model-upload",
            help="With explicit: let clients send the files of models; only clients you trust.",
        ),
    ] = LoadPolicy.uploads,
    audit_log: Annotated[
        str,
        typer.Option(
            help="Write calls that control the server to a file, as JSON lines.",
            show_default=False,
        ),
    ] = AccessConfig.audit_log,
    server_name: Annotated[str, typer.Option(help="Name in ServerMetadata.")] = Config.server_name,
    max_request_size: Annotated[
        int, typer.Option(min=1, help="Bytes of a request with tensors, pictures or models.")
    ] = Limits.request_size,
    max_bytes_in_flight: Annotated[
        int,
        typer.Option(
            min=2, help="Bytes of requests and answers at once; a connection may have half of them."
        ),
    ] = Limits.bytes_in_flight,
    max_connections: Annotated[int, typer.Option(min=1, help="Connections at once.")] = (
        Limits.connections
    ),
    grpc_use_ssl: Annotated[
        bool, typer.Option("--grpc-use-ssl", help="Demand TLS of clients, also for the metrics.")
    ] = False,
    grpc_use_ssl_mutual: Annotated[
        bool,
        typer.Option("--grpc-use-ssl-mutual", help="Demand TLS and a certificate of each client."),
    ] = False,
    grpc_server_cert: Annotated[
        Path | None, typer.Option(help="PEM file of the server's certificate.")
    ] = None,
    grpc_server_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    grpc_root_cert: Annotated[
        Path | None, typer.Option(help="PEM file of the authorities of clients' certificates.")
    ] = None,
    grpc_max_connection_idle: Annotated[
        int, typer.Option(min=1, max=NEVER, help="End connections without calls after so long; ms.")
    ] = Limits.connection_idle,
    grpc_max_connection_age: Annotated[
        int,
        typer.Option(
            min=1, max=NEVER, help="End connections after so long; ms.", show_default="never"
        ),
    ] = Limits.connection_age,
    grpc_max_connection_age_grace: Annotated[
        int,
        typer.Option(
            min=1, max=NEVER, help="Time that calls have after that; ms.", show_default="any"
        ),
    ] = Limits.connection_age_grace,
    grpc_keepalive_time: Annotated[
        int, typer.Option(min=1, max=NEVER, help="Time between two pings to a client; ms.")
    ] = Limits.keepalive_time,
    grpc_keepalive_timeout: Annotated[
        int, typer.Option(min=1, max=NEVER, help="Time that a client has to answer a ping; ms.")
    ] = Limits.keepalive_timeout,
    grpc_http2_min_recv_ping_interval_without_data: Annotated[
        int, typer.Option(min=0, max=NEVER, help="Time between pings of a client; ms.")
    ] = Limits.min_ping_interval,
    grpc_http2_max_ping_strikes: Annotated[
        int, typer.Option(min=0, help="Pings that may come sooner; 0 is any number.")
    ] = Limits.max_ping_strikes,
    max_queue_wait_ms: Annotated[
        int,
        typer.Option(min=0, help="Time that a request may be expected to wait for others; ms."),
    ] = Config.max_queue_wait,
    exit_timeout_secs: Annotated[
        int, typer.Option(min=0, help="Seconds that accepted requests have at the stop.")
    ] = Config.exit_timeout,
    model_control_mode: Annotated[
        Mode,
        typer.Option(
            help="none: load all models at the start; poll: also follow changes on disk; "
            "explicit: load what clients ask for."
        ),
    ] = LoadPolicy.mode,
    load_model: Annotated[
        list[str] | None,
        typer.Option(help="With explicit: a model to load at the start, repeatable; '*' is all."),
    ] = None,
    repository_poll_secs: Annotated[
        int, typer.Option(min=1, help="With poll: seconds between two looks at the repository.")
    ] = LoadPolicy.poll_seconds,
    max_models: Annotated[
        int, typer.Option(min=1, help="With explicit: models that clients may have loaded.")
    ] = LoadPolicy.most,
    state_file: Annotated[
        Path | None,
        typer.Option(
            help="With explicit: keep which models clients load and unload for the next start.",
            show_default=False,
        ),
    ] = Config.state_file,
    exit_on_error: Annotated[
        bool, typer.Option(help="End if a model cannot be loaded at the start.")
    ] = LoadPolicy.exit_on_error,
    metrics: Annotated[bool, typer.Option(help="Serve Prometheus metrics.")] = Config.metrics,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the metrics; 0 picks a free port.")
    ] = Config.metrics_port,
    cache_config: Annotated[
        str, typer.Option(help="Response cache: local,size=BYTES.", show_default=False)
    ] = Config.cache_config,
    trace_config: Annotated[
        list[str],
        typer.Option(
            help="Tracing, repeatable: triton,file=PATH; triton,log-frequency=N; "
            "mode=opentelemetry; opentelemetry,url=URL; opentelemetry,resource=NAME=VALUE; "
            "level=TIMESTAMPS; rate=N; count=N.",
            show_default=False,
        ),
    ] = list(Config.trace_config),  # noqa: B006 - typer copies it
    log_verbose: Annotated[
        int, typer.Option(min=0, help="1 logs each request, 2 also what the libraries log.")
    ] = logs.LogSettings.verbose_level,
    log_info: Annotated[bool, typer.Option(help="Log events.")] = logs.LogSettings.info,
    log_warning: Annotated[bool, typer.Option(help="Log warnings.")] = logs.LogSettings.warning,
    log_error: Annotated[bool, typer.Option(help="Log errors.")] = logs.LogSettings.error,
    log_format: Annotated[
        str, typer.Option(help="Format of log lines: default, ISO8601 or json.")
    ] = logs.LogSettings.format,
    log_file: Annotated[
        str, typer.Option(help="Log to a file instead of stderr.", show_default=False)
    ] = logs.LogSettings.file,
) -> None:
    """Serve ONNX models over gRPC: Open Inference Protocol and crossrun.v1.Vision."""
    control = LoadPolicy(
        mode=model_control_mode,
        at_start=tuple(load_model or ()),
        poll_seconds=repository_poll_secs,
        most=max_models,
        uploads=allow_model_upload,
        exit_on_error=exit_on_error,
    )
    log = logs.LogSettings(
        file=log_file,
        info=log_info,
        warning=log_warning,
        error=log_error,
        verbose_level=log_verbose,
        format=log_format,
    )
    limits = Limits(
        request_size=max_request_size,
        bytes_in_flight=max_bytes_in_flight,
        connections=max_connections,
        connection_idle=grpc_max_connection_idle,
        connection_age=grpc_max_connection_age,
        connection_age_grace=grpc_max_connection_age_grace,
        keepalive_time=grpc_keepalive_time,
        keepalive_timeout=grpc_keepalive_timeout,
        min_ping_interval=grpc_http2_min_recv_ping_interval_without_data,
        max_ping_strikes=grpc_http2_max_ping_strikes,
    )
    tls = TlsOptions(
        use_ssl=grpc_use_ssl,
        use_ssl_mutual=grpc_use_ssl_mutual,
        server_cert=grpc_server_cert,
        server_key=grpc_server_key,
        root_cert=grpc_root_cert,
    )
    access = AccessConfig(
        tokens=auth_tokens,
        restricted=tuple(grpc_restricted_protocol),
        remote_control=allow_remote_control,
        audit_log=audit_log,
    )
    config = Config(
        models=models,
        host=host,
        port=port,
        http=allow_http,
        http_port=http_port,
        http_cors=tuple(http_cors),
        page=page,
        front=front,
        limits=limits,
        tls=tls,
        exit_timeout=exit_timeout_secs,
        provider=provider,
        provider_options=tuple(provider_option or ()),
        proof_tolerance=proof_tolerance,
        pictures=PictureLimits(max_request_pictures, max_request_megapixels),
        access=access,
        max_queue_wait=max_queue_wait_ms,
        shared_memory=shared_memory,
        shared_memory_prefix=shared_memory_prefix,
        server_name=server_name,
        control=control,
        state_file=state_file,
        metrics=metrics,
        metrics_port=metrics_port,
        cache_config=cache_config,
        trace_config=tuple(trace_config),
        log=log,
    )
    try:
        asyncio.run(_serving(config, workers))
    except ServingError as error:
        raise SystemExit(f"crossrun-serve: {error}") from error


def tune_command(
    models: Annotated[Path, typer.Argument(help="Model repository.")],
    model: Annotated[str, typer.Option(help="Name of the model.")],
    provider: Annotated[
        str, typer.Option(help="cpu: its lanes; fastest, or fastest:cpu,openvino …: the providers.")
    ] = "cpu",
    provider_option: Annotated[
        list[str] | None, typer.Option(help="Option of a provider, as for the server; repeatable.")
    ] = None,
    proof_tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="As for the server.", show_default="the proof's own"),
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Write the best into config.pbtxt.")] = False,
) -> None:
    """Measure a model's lanes, or its providers, on this machine, and what they lead to."""
    try:
        wanted = providers.parse(provider, providers.parse_options(provider_option or ()))
        context = ServerContext(wanted, proof_tolerance=proof_tolerance)
        for line in tune.tune(models, model, context, pin=pin):
            typer.echo(line)
    except ServingError as error:
        raise SystemExit(f"crossrun-serve: {error}") from error


def token_command(
    name: Annotated[str, typer.Argument(help="Who gets it: the audit log names its user so.")],
    scope: Annotated[
        list[str], typer.Option(help="infer, read or control; repeatable.", show_default=False)
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Pattern of the models it is for; repeatable.", show_default=ALL),
    ] = None,
) -> None:
    """Make a token: it goes to stderr, and the lines for --auth-tokens to stdout."""
    try:
        token, lines = token_file.make(name, scope, model or [ALL])
    except ServingError as error:
        raise SystemExit(f"crossrun-serve: {error}") from error
    typer.echo(f"the token, which is kept nowhere: {token}", err=True)
    typer.echo(lines)


def _serving(config: Config, workers: int) -> Coroutine[None, None, None]:
    if workers == 1:
        return serve(config, _announce)
    return supervisor.serve(config, workers, _announce)


def _announce(address: str) -> None:
    print(f"crossrun: serving on {address}", flush=True)  # noqa: T201 - scripts wait for this line


COMMANDS: dict[str, Callable[..., None]] = {"tune": tune_command, "token": token_command}


def main() -> None:
    """Serve, or do what the first word says. A repository with such a name is ./tune or ./token."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word in COMMANDS:
        sys.argv[:2] = [f"{sys.argv[0]} {word}"]
    typer.run(COMMANDS.get(word, command))
