"""The commands that measure. Knows options; imports each task when asked."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from crossrun_bench.cli import parsing
from crossrun_bench.cli.app import app
from crossrun_bench.cli.options import (
    AsJson,
    Batches,
    Environments,
    Images,
    Models,
    Name,
    Output,
    ProofTolerance,
    Remote,
    RequireQuiet,
    Rounds,
    SkipUnknown,
    Targets,
)
from crossrun_bench.cli.output import finish
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load.plan import FORMS
from crossrun_bench.targets.choice import chosen, reference, timed
from crossrun_bench.targets.targets import COMPARED, IN_PROCESS, ON_PROVIDERS, TARGETS

# ruff: noqa: PLC0415 - the heavy half of a command is imported when that command runs


@app.command()
def latency(
    models: Models,
    name: Name,
    batch: Batches = "",
    rounds: Rounds = None,
    targets: Annotated[
        str,
        typer.Option(
            help=f"What to measure, of {', '.join(TARGETS)}: by default the original as it is, and "
            f"{COMPARED}; {ON_PROVIDERS} where providers are compared."
        ),
    ] = "",
    compared: Annotated[
        str,
        typer.Option(
            "--providers",
            help="Execution providers to compare, such as cpu,openvino; NAME@ENVIRONMENT says "
            "which environment's.",
        ),
    ] = "",
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="One more provider, with options: 'openvino KEY=VALUE …'; may be repeated."
        ),
    ] = None,
    environment: Environments = None,
    proof_tolerance: ProofTolerance = None,
    server: Remote = None,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Time each target on the same pictures, in interleaved rounds, each in its own process."""
    from crossrun_bench.measurements.latency.measure import LatencyPlan, measure
    from crossrun_bench.measurements.rounds import Pace
    from crossrun_bench.models.repository import read_model
    from crossrun_bench.targets.subjects import Asked

    compare = [[word] for word in parsing.words(compared)] + list(
        map(parsing.shell_words, variant or [])
    )
    backends = parsing.backends(compare, environment)
    model = read_model(models, name)
    wanted = parsing.words(targets or (ON_PROVIDERS if backends else timed(model)))
    asked = Asked(models, name, chosen(wanted, server), server, backends, proof_tolerance)
    plan = LatencyPlan(asked, parsing.batches(batch, "1,8,32", model), Pace.of(rounds))
    finish(partial(measure, plan), output, as_json, require_quiet)


@app.command()
def accuracy(
    models: Models,
    name: Name,
    images: Annotated[str, Images],
    skip_unknown_folders: SkipUnknown = False,
    targets: Targets = COMPARED,
    server: Remote = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Compare the answers with the labels and with the original's, on the same pixels.

    After an interruption, the same command continues from OUTPUT.partial.
    """
    from crossrun_bench.measurements.accuracy.measure import measure
    from crossrun_bench.measurements.answers import partial as unfinished
    from crossrun_bench.measurements.answers.run import AccuracyPlan
    from crossrun_bench.models.repository import read_model
    from crossrun_bench.targets.subjects import Asked

    original = reference(read_model(models, name))
    wanted = chosen([original, *chosen(parsing.words(targets), server)], server)
    if wanted == (original,):
        raise BenchError(f"--targets '{targets}': expected some to compare with {original}")
    plan = AccuracyPlan(Asked(models, name, wanted, server), images, output, skip_unknown_folders)
    finish(partial(measure, plan), output, as_json)
    if output:
        unfinished.remove(output)


@app.command()
def precision(
    models: Models,
    images: Annotated[str | None, Images] = None,
    skip_unknown_folders: SkipUnknown = False,
    names: Annotated[
        str, typer.Option("--model", help="Models, comma-separated; all by default.")
    ] = "",
    rounds: Rounds = None,
    provider: Annotated[str, typer.Option(help="Execution provider, such as openvino.")] = "cpu",
    provider_option: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE for the provider; may be repeated.")
    ] = None,
    environment: Environments = None,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare the precisions of each model: size, speed and, with pictures, answers."""
    from crossrun_bench.measurements.precision.measure import PrecisionPlan, measure
    from crossrun_bench.measurements.rounds import Pace

    (backend,) = parsing.backends([[provider, *(provider_option or [])]], environment)
    plan = PrecisionPlan(
        models,
        tuple(dict.fromkeys(parsing.words(names))),
        images,
        backend,
        Pace.of(rounds),
        skip_unknown_folders,
    )
    finish(partial(measure, plan), output, as_json, require_quiet)


@app.command()
def load(
    models: Models,
    name: Name,
    clients: Annotated[
        str,
        typer.Option(help="Requests always under way; 1,4,16 unless --rate is given."),
    ] = "",
    rate: Annotated[
        str,
        typer.Option(help="Requests a second, sent when due, answered or not; comma-separated."),
    ] = "",
    arrivals: Annotated[str, typer.Option(help="poisson or constant, with --rate.")] = "poisson",
    slo: Annotated[
        str, typer.Option(help="Find the highest rate that meets this, such as p99=10ms.")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 3,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Seconds of a turn that are counted.")
    ] = 3.0,
    form: Annotated[
        str, typer.Option(help=f"Forms of requests to our server, of {', '.join(FORMS)}.")
    ] = "raw",
    targets: Annotated[
        str, typer.Option(help=f"Runtimes in process, of {', '.join(IN_PROCESS)}.")
    ] = "",
    others: Annotated[
        str, typer.Option("--peers", help="Servers beside ours, of `make peers`, or all.")
    ] = "",
    server: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=HOST:PORT of a running server, NAME=http://HOST:PORT to ask it by REST, "
            "NAME=tfserving://HOST:PORT of a TensorFlow Serving; may be repeated."
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that send requests together.")
    ] = 1,
    neighbour: Annotated[
        bool, typer.Option("--neighbour", help="Keep one core busy with something else.")
    ] = False,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Put load on servers, ours and others, and on runtimes in process, in closed or open loops."""
    from crossrun_bench.measurements.load import servers
    from crossrun_bench.measurements.load.arrivals import checked, rates
    from crossrun_bench.measurements.load.measure import measure
    from crossrun_bench.measurements.load.plan import LoadPlan
    from crossrun_bench.measurements.load.slo import objective

    if require_quiet and server:
        raise BenchError("--require-quiet: a --server that runs already looks like noise")
    plan = LoadPlan(
        models=models,
        name=name,
        clients=parsing.clients(clients, default=bool(slo) or not rate),
        rounds=rounds,
        seconds=seconds,
        forms=tuple(dict.fromkeys(parsing.words(form))),
        runtimes=tuple(dict.fromkeys(parsing.words(targets))),
        peers=servers.chosen_peers(parsing.words(others)),
        servers=dict(map(parsing.server, server or [])),
        neighbour=neighbour,
        rates=rates(parsing.words(rate)),
        arrivals=checked(arrivals),
        objective=objective(slo) if slo else None,
        processes=processes,
    )
    finish(partial(measure, plan), output, as_json, require_quiet)


@app.command()
def throughput(
    models: Models,
    name: Name,
    providers: Annotated[
        str, typer.Option(help="Execution providers, one after the other.")
    ] = "cuda,tensorrt,cpu",
    batch: Batches = "",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; `compare` needs 5.")] = 2,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Seconds of a turn that are counted.")
    ] = 2.0,
    environment: Environments = None,
    proof_tolerance: ProofTolerance = None,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Count rows a second by batch size on each provider, in process and through our server."""
    from crossrun_bench.measurements.throughput.measure import ThroughputPlan, measure
    from crossrun_bench.models.repository import read_model

    wanted, folders = tuple(dict.fromkeys(parsing.words(providers))), parsing.folders(environment)
    rows = parsing.batches(batch, "1,2,4,8,16,32,64,128,256", read_model(models, name))
    plan = ThroughputPlan(models, name, wanted, rows, rounds, seconds, folders, proof_tolerance)
    finish(partial(measure, plan), output, as_json, require_quiet)


@app.command()
def loadgen(
    models: Models,
    name: Name,
    logs: Annotated[Path, typer.Option(help="Folder to keep LoadGen's own logs in.")],
    scenario: Annotated[
        str, typer.Option(help="MLPerf scenarios, comma-separated.")
    ] = "SingleStream",
    target: Annotated[str, typer.Option(help="onnxruntime or grpc-raw.")] = "onnxruntime",
    target_qps: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Queries a second in Server; the highest valid rate by default.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Least seconds of a run.")] = 10.0,
    images: Annotated[str | None, Images] = None,
    skip_unknown_folders: SkipUnknown = False,
    accuracy: Annotated[bool, typer.Option("--accuracy", help="Also measure top-1.")] = False,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Let MLPerf LoadGen drive the model: its scenarios, its measuring, its verdict."""
    from crossrun_bench.measurements.loadgen.measure import LoadGenPlan, measure
    from crossrun_bench.measurements.loadgen.rules import chosen as scenarios

    wanted = scenarios(parsing.words(scenario))
    plan = LoadGenPlan(
        models,
        name,
        wanted,
        target,
        target_qps,
        seconds,
        images,
        accuracy,
        logs,
        skip_unknown_folders,
    )
    finish(partial(measure, plan), output, as_json, require_quiet)
