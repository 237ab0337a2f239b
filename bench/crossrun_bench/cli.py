"""The command line `crossrun-bench`. Knows options and exit codes; imports each task when asked."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossrun_bench import noise, results
from crossrun_bench.errors import BenchError
from crossrun_bench.targets import COMPARED, ON_PROVIDERS, REFERENCE, TARGETS, TIMED, chosen
from crossrun_bench.verdicts import APART, condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.environments import Backend
    from crossrun_bench.verdicts import Condition

# ruff: noqa: PLC0415 - the heavy half of a command is imported when that command runs

app = typer.Typer(
    help="Measure a served model against the Keras model it came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Models = Annotated[Path, typer.Argument(help="Model repository that holds the model.")]
Name = Annotated[str, typer.Option("--model", help="Name of the model in the repository.")]
Images = typer.Option(help="Folder of class folders of JPEG or PNG, or 'bundled' to draw some.")
Rounds = Annotated[
    int | None,
    typer.Option(min=1, help="Interleaved rounds; 10, or fewer at slow sizes, by default."),
]
Environments = Annotated[
    list[str] | None,
    typer.Option(
        "--environment",
        help="NAME=DIR of a Python environment for the provider NAME; may be repeated.",
    ),
]
Targets = Annotated[str, typer.Option(help=f"What to measure, of {', '.join(TARGETS)}.")]
Remote = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of a running server, which the targets oip and tfserving ask."),
]
Output = Annotated[
    Path | None, typer.Option(help="Write the results to this JSON file instead of showing them.")
]
RequireQuiet = Annotated[
    bool,
    typer.Option(
        "--require-quiet", help=f"Fail where others use over {noise.LIMIT:.0%} of the cores."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, not a table.")]


def main() -> None:
    """Run the command line; an error is one line on stderr and exit status 1."""
    # An end by SIGTERM leaves every `with` too, so that no server stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except BenchError as error:
        print(f"crossrun-bench: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        sys.exit(1)


@app.command()
def latency(
    models: Models,
    name: Name,
    batch: Annotated[str, typer.Option(help="Pictures in a request, several sizes.")] = "1,8,32",
    rounds: Rounds = None,
    targets: Annotated[
        str,
        typer.Option(
            help=f"What to measure, of {', '.join(TARGETS)}: {TIMED}, "
            f"or {ON_PROVIDERS} where providers are compared."
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
    server: Remote = None,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Time each target on the same pictures, in interleaved rounds, each in its own process."""
    from crossrun_bench.latency import Plan, measure
    from crossrun_bench.rounds import Pace
    from crossrun_bench.tasks import Asked

    compare = [[word] for word in _words(compared)] + list(map(_shell_words, variant or []))
    backends = _backends(compare, environment)
    wanted = _words(targets or (ON_PROVIDERS if backends else TIMED))
    asked = Asked(models, name, chosen(wanted, server), server, backends)
    plan = Plan(asked, _sizes(batch), Pace.of(rounds))
    if require_quiet:
        noise.expect_quiet()
    _finish(measure(plan, _command()), output, as_json, require_quiet)


@app.command()
def accuracy(
    models: Models,
    name: Name,
    images: Annotated[str, Images],
    targets: Targets = COMPARED,
    server: Remote = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Compare the answers with the labels and with the source Keras model, on the same pixels.

    Interrupted, and called again with the same --output, it goes on from OUTPUT.partial.
    """
    from crossrun_bench import partial
    from crossrun_bench.accuracy import Plan, measure
    from crossrun_bench.tasks import Asked

    wanted = chosen([REFERENCE, *chosen(_words(targets), server)], server)
    if wanted == (REFERENCE,):
        raise BenchError(f"--targets '{targets}': expected some to compare with {REFERENCE}")
    plan = Plan(Asked(models, name, wanted, server), images, output)
    _finish(measure(plan, _command()), output, as_json)
    if output:
        partial.remove(output)


@app.command()
def precision(
    models: Models,
    images: Annotated[str | None, Images] = None,
    names: Annotated[str, typer.Option("--model", help="Some models; all by default.")] = "",
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
    from crossrun_bench.precision import Plan, measure
    from crossrun_bench.rounds import Pace

    (backend,) = _backends([[provider, *(provider_option or [])]], environment)
    plan = Plan(models, tuple(dict.fromkeys(_words(names))), images, backend, Pace.of(rounds))
    if require_quiet:
        noise.expect_quiet()
    _finish(measure(plan, _command()), output, as_json, require_quiet)


@app.command()
def load(
    models: Models,
    name: Name,
    clients: Annotated[
        str, typer.Option(help="Requests always under way, several; 1,4,16 unless --rate is given.")
    ] = "",
    rate: Annotated[
        str, typer.Option(help="Requests a second, several: sent when due, answered or not.")
    ] = "",
    arrivals: Annotated[str, typer.Option(help="poisson or constant, with --rate.")] = "poisson",
    slo: Annotated[
        str, typer.Option(help="Look for the highest rate that holds this, such as p99=10ms.")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long a turn is counted.")] = 3.0,
    others: Annotated[
        str, typer.Option("--peers", help="Servers beside ours, of `make peers`, or all.")
    ] = "",
    server: Annotated[
        list[str] | None,
        typer.Option(help="NAME=HOST:PORT of a running server; may be repeated."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many ask, together.")] = 1,
    neighbour: Annotated[
        bool, typer.Option("--neighbour", help="Keep one core busy with something else.")
    ] = False,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Load our server, and others, as fast as they answer or at some rates."""
    from crossrun_bench import peers
    from crossrun_bench.arrivals import checked, rates
    from crossrun_bench.load import measure
    from crossrun_bench.load_plan import Plan
    from crossrun_bench.slo import objective

    if require_quiet and server:
        raise BenchError("--require-quiet: a --server that runs already looks like noise")
    plan = Plan(
        models=models,
        name=name,
        clients=_clients(clients, default=bool(slo) or not rate),
        rounds=rounds,
        seconds=seconds,
        peers=peers.chosen(_words(others)),
        servers=dict(map(_server, server or [])),
        neighbour=neighbour,
        rates=rates(_words(rate)),
        arrivals=checked(arrivals),
        objective=objective(slo) if slo else None,
        processes=processes,
    )
    if require_quiet:
        noise.expect_quiet()
    _finish(measure(plan, _command()), output, as_json, require_quiet)


@app.command()
def throughput(
    models: Models,
    name: Name,
    providers: Annotated[
        str, typer.Option(help="Execution providers, one after the other.")
    ] = "cuda,tensorrt,cpu",
    batch: Annotated[str, typer.Option(help="Rows of a request, several sizes.")] = (
        "1,2,4,8,16,32,64,128,256"
    ),
    seconds: Annotated[float, typer.Option(min=0.01, help="How long a turn is counted.")] = 2.0,
    environment: Environments = None,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Count rows a second by batch size on each provider, in process and through our server."""
    from crossrun_bench.throughput import Plan, measure

    wanted, folders = tuple(dict.fromkeys(_words(providers))), _folders(environment)
    plan = Plan(models, name, wanted, _sizes(batch), seconds, folders)
    if require_quiet:
        noise.expect_quiet()
    _finish(measure(plan, _command()), output, as_json, require_quiet)


@app.command()
def loadgen(
    models: Models,
    name: Name,
    logs: Annotated[Path, typer.Option(help="Folder for LoadGen's own logs, kept.")],
    scenario: Annotated[str, typer.Option(help="Scenarios of MLPerf, several.")] = "SingleStream",
    target: Annotated[str, typer.Option(help="onnxruntime or grpc-raw.")] = "onnxruntime",
    target_qps: Annotated[
        float | None,
        typer.Option(min=0.01, help="Queries a second of Server; by default the most it can."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long a run lasts at least.")] = 10.0,
    images: Annotated[str | None, Images] = None,
    accuracy: Annotated[bool, typer.Option("--accuracy", help="Find top-1, too.")] = False,
    output: Output = None,
    require_quiet: RequireQuiet = False,
    as_json: AsJson = False,
) -> None:
    """Let MLPerf LoadGen drive the model: its scenarios, its measuring, its verdict."""
    from crossrun_bench.loadgen import Plan, measure
    from crossrun_bench.loadgen_rules import chosen as scenarios

    wanted = scenarios(_words(scenario))
    plan = Plan(models, name, wanted, target, target_qps, seconds, images, accuracy, logs)
    if require_quiet:
        noise.expect_quiet()
    _finish(measure(plan, _command()), output, as_json, require_quiet)


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Results of the commands that measure.")],
    output: Annotated[Path | None, typer.Option(help="Write one HTML page here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown here.")] = None,
    into: Annotated[
        Path | None, typer.Option(help="Put new tables into this Markdown, where it asks for them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show results: tables here, and as Markdown or as one self-contained HTML page."""
    from crossrun_bench.report import html, terminal
    from crossrun_bench.report import markdown as md

    read = [result for file in files for result in results.read_all(file)]
    if markdown:
        results.write_text(markdown, md.render(read))
    if output:
        results.write_text(output, html.render(read))
    if into:
        results.write_text(into, md.renewed(results.read_text(into), read))
    if as_json:
        _print_json([results.to_document(result) for result in read])
    else:
        terminal.show(read)
        for written in filter(None, (output, markdown, into)):
            _print(f"report: {written}")


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="TOML file, or quick, readme or full.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the study; build/SUITE by default.")
    ] = None,
) -> None:
    """Run a whole study, from export to report; run again, it goes on where it was ended."""
    from crossrun_bench import suite as suites
    from crossrun_bench.report import html, terminal
    from crossrun_bench.report import markdown as md

    folder = output or Path("build", Path(suite).stem)
    found = suites.run(suites.read(suite), folder, _command(), _check)
    pages = {"report.md": md.render(found), "report.html": html.render(found)}
    for name, page in pages.items():
        results.write_text(folder / name, page)
    terminal.show(found)
    for name in ("study.json", *pages):
        _print(f"study: {folder / name}")


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="A result of a measuring command.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="A later one of the same command.")],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Such as 'p99 > +5%' or 'onnxruntime:top1 < -1 points'; may be repeated."
        ),
    ] = None,
    apart: Annotated[
        float, typer.Option(min=0, help="Percent that two runs of the same thing lie apart.")
    ] = APART,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write GitHub's Markdown here; - for stdout, without tables."),
    ] = None,
    allow_unlike: Annotated[
        bool, typer.Option("--allow-unlike", help="Compare unlike machines or models all the same.")
    ] = False,
) -> None:
    """Tell what changed from A to B and is no noise; exit status 1 where a condition is broken."""
    from crossrun_bench.compare import compare as compare_
    from crossrun_bench.report import comparison, terminal
    from crossrun_bench.report import markdown as md

    conditions = _conditions(fail_if or [])
    compared = compare_(
        results.read(before), results.read(after), apart=apart, allow_unlike=allow_unlike
    )
    broken = {condition: compared.broken(condition) for condition in conditions}
    tables = comparison.tables(compared, broken, (before.name, after.name))
    if markdown == Path("-"):
        _print(md.document(tables).rstrip())
    else:
        terminal.show_tables(tables)
        if markdown:
            results.write_text(markdown, md.document(tables))
            _print(f"comparison: {markdown}")
    if any(broken.values()):
        raise typer.Exit(1)


def _conditions(texts: Sequence[str]) -> list[Condition]:
    try:
        return [condition(text) for text in texts]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-if") from error


@app.command()
def classify(
    images: Annotated[list[Path], typer.Argument(help="JPEG or PNG files, or folders of them.")],
    target: Annotated[str, typer.Option(help="host:port of a running server.")] = "127.0.0.1:8001",
    name: Annotated[
        str, typer.Option("--model", help="Model; may be left out where the server has only one.")
    ] = "",
    top_k: Annotated[int, typer.Option(min=1, help="Classes for each picture.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Ask a running server what pictures show."""
    from crossrun_bench.classify import named
    from crossrun_bench.report import terminal

    answers = named(images, target, name, top_k)
    if as_json:
        _print_json({str(file): classes for file, classes in answers.items()})
    else:
        terminal.show_classes(answers)


def _check(words: Sequence[str]) -> None:
    """BenchError for words that are no command line of this program."""
    program, name, *options = words
    command: Any = typer.main.get_command(app)
    # Typer has a click of its own, or the real one, and names its family of errors nowhere.
    usage_error: Any = typer.BadParameter.__bases__
    try:
        if name not in command.commands:
            raise BenchError(f"no command '{name}': expected one of {', '.join(command.commands)}")
        command.commands[name].make_context(program, options)
    except usage_error as error:
        raise BenchError(f"{name}: {error.format_message()}") from error


def _finish(
    result: results.Result, output: Path | None, as_json: bool, require_quiet: bool = False
) -> None:
    from crossrun_bench.report import terminal

    if output:
        results.write(output, result)
    if as_json:
        _print_json(results.to_document(result))
    elif output:
        _print(f"results: {output}")
        terminal.show_warnings(result)
    else:
        terminal.show([result])
    if require_quiet:
        kept = f" (results kept, marked as noisy: {output})" if output else ""
        noise.refuse(result.machine.noise, f"while this measured{kept}")


def _print_json(document: Any) -> None:
    _print(json.dumps(document))


def _print(line: str) -> None:
    print(line)  # noqa: T201 - the command's own output


def _command() -> str:
    """What was typed, to be typed again."""
    return shlex.join(["crossrun-bench", *sys.argv[1:]])


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _shell_words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BenchError(f"--variant {text!r}: {error}") from error
    if not words:
        raise BenchError("--variant '': expected a provider, such as 'openvino num_of_threads=1'")
    return words


def _backends(asked: Sequence[Sequence[str]], given: Sequence[str] | None) -> list[Backend]:
    """Where to find each provider, asked for by its name and options KEY=VALUE."""
    from crossrun_bench import environments, providers

    folders = _folders(given)
    found = [providers.asked(name, options) for name, *options in asked]
    return [environments.backend(provider, folders) for provider in found]


def _folders(given: Sequence[str] | None) -> dict[str, Path]:
    return dict(map(_environment, given or []))


def _environment(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise BenchError(f"--environment '{text}': expected NAME=DIR")
    return name, Path(folder)


def _server(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    if not name or not address.rpartition(":")[2].isdecimal():
        raise BenchError(f"--server '{text}': expected NAME=HOST:PORT")
    return name, address


def _clients(text: str, *, default: bool) -> Sequence[int]:
    return _sizes(text or "1,4,16", "--clients", "1,4,16") if text or default else ()


def _sizes(text: str, option: str = "--batch", such: str = "1,8,32") -> Sequence[int]:
    words = _words(text)
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise BenchError(f"{option} '{text}': expected whole numbers from 1, such as {such}")
    return tuple(dict.fromkeys(int(word) for word in words))
