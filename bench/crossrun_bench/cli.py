"""The command line `crossrun-bench`. Knows options and exit codes; imports each task when asked."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossrun_bench import results
from crossrun_bench.errors import BenchError
from crossrun_bench.targets import TARGETS, chosen

if TYPE_CHECKING:
    from collections.abc import Sequence

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
Output = Annotated[
    Path | None, typer.Option(help="Write the results to this JSON file instead of showing them.")
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
    targets: Annotated[str, typer.Option(help="What to measure.")] = ",".join(TARGETS),
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Time each target on the same pictures, in interleaved rounds, each in its own process."""
    from crossrun_bench.latency import Plan, measure
    from crossrun_bench.rounds import Pace

    plan = Plan(models, name, chosen(_words(targets)), _sizes(batch), Pace.of(rounds))
    _finish(measure(plan, _command()), output, as_json)


@app.command()
def accuracy(
    models: Models,
    name: Name,
    images: Annotated[str, Images],
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Compare the answers with the labels and with the source Keras model, on the same pixels."""
    from crossrun_bench.accuracy import measure

    _finish(measure(models, name, images=images, command=_command()), output, as_json)


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
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Compare the precisions of each model: size, speed and, with pictures, answers."""
    from crossrun_bench import providers
    from crossrun_bench.precision import Plan, measure
    from crossrun_bench.rounds import Pace

    asked = providers.provider(provider, provider_option or [])
    plan = Plan(models, tuple(dict.fromkeys(_words(names))), images, asked, Pace.of(rounds))
    _finish(measure(plan, _command()), output, as_json)


@app.command()
def load(
    models: Models,
    name: Name,
    clients: Annotated[str, typer.Option(help="Requests always under way, several.")] = "1,4,16",
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long a turn is counted.")] = 3.0,
    others: Annotated[
        str, typer.Option("--peers", help="Servers beside ours, of `make peers`, or all.")
    ] = "",
    server: Annotated[
        list[str] | None,
        typer.Option(help="NAME=HOST:PORT of a running server; may be repeated."),
    ] = None,
    neighbour: Annotated[
        bool, typer.Option("--neighbour", help="Keep one core busy with something else.")
    ] = False,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Load our server, and others, as fast as they answer; compare with onnxruntime alone."""
    from crossrun_bench import peers
    from crossrun_bench.load import Plan, measure

    wanted, running = peers.chosen(_words(others)), dict(map(_server, server or []))
    counts = _sizes(clients, "--clients", "1,4,16")
    plan = Plan(models, name, counts, rounds, seconds, wanted, running, neighbour)
    _finish(measure(plan, _command()), output, as_json)


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
    as_json: AsJson = False,
) -> None:
    """Let MLPerf LoadGen drive the model: its scenarios, its measuring, its verdict."""
    from crossrun_bench.loadgen import Plan, measure
    from crossrun_bench.loadgen_rules import chosen as scenarios

    wanted = scenarios(_words(scenario))
    plan = Plan(models, name, wanted, target, target_qps, seconds, images, accuracy, logs)
    _finish(measure(plan, _command()), output, as_json)


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Results of the commands that measure.")],
    output: Annotated[Path | None, typer.Option(help="Write one HTML page here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show results: tables here, and as Markdown or as one self-contained HTML page."""
    from crossrun_bench.report import html, terminal
    from crossrun_bench.report import markdown as md

    read = [results.read(file) for file in files]
    if markdown:
        results.write_text(markdown, md.render(read))
    if output:
        results.write_text(output, html.render(read))
    if as_json:
        _print_json([results.to_document(result) for result in read])
    else:
        terminal.show(read)
        for written in filter(None, (output, markdown)):
            _print(f"report: {written}")


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


def _finish(result: results.Result, output: Path | None, as_json: bool) -> None:
    from crossrun_bench.report import terminal

    if output:
        results.write(output, result)
    if as_json:
        _print_json(results.to_document(result))
    elif output:
        _print(f"results: {output}")
    else:
        terminal.show([result])


def _print_json(document: Any) -> None:
    _print(json.dumps(document))


def _print(line: str) -> None:
    print(line)  # noqa: T201 - the command's own output


def _command() -> str:
    """What was typed, to be typed again."""
    return shlex.join(["crossrun-bench", *sys.argv[1:]])


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _server(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    if not name or not address.rpartition(":")[2].isdecimal():
        raise BenchError(f"--server '{text}': expected NAME=HOST:PORT")
    return name, address


def _sizes(text: str, option: str = "--batch", such: str = "1,8,32") -> Sequence[int]:
    words = _words(text)
    if not words or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise BenchError(f"{option} '{text}': expected whole numbers from 1, such as {such}")
    return tuple(dict.fromkeys(int(word) for word in words))
