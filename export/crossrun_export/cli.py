"""crossrun-export: reads the command line, shows progress, turns errors into one line."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crossrun_export import distribution, scaling
from crossrun_export.cli_options import Model, exporting, of_keras
from crossrun_export.console import console, say
from crossrun_export.detector import cli as detector
from crossrun_export.errors import ExportError
from crossrun_export.foreign import cli as foreign
from crossrun_export.options import HeadKind, Loading, Options

# TensorFlow takes seconds to import: what needs it is imported where it is used.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from crossrun_export.sources import Source

app = typer.Typer(
    help="Export image classifiers and detectors to ONNX, proven equal, into a model repository.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Labels = Annotated[Path | None, typer.Option(help="File with one label a line.")]
Pixels = Annotated[
    str | None,
    typer.Option(help=f"What the model takes: {scaling.EXPECTED}; found out if left out."),
]


def _export(load: "Callable[[], Source]", options: Options) -> None:
    with console.status("loading TensorFlow and the weights") as status:
        from crossrun_export.pipeline import export
        from crossrun_export.told import told

        source = load()
        say(f"exporting {source.model.name}, {source.weights} weights")
        say(f"pixels {source.preprocessing.scaling.name}: {source.preprocessing.because}")
        exported = export(source, options, status.update, say)
    say(str(exported[0].seen or "neither labels nor probabilities to judge the pixels by"))
    for one in exported:
        say(f"[bold]{one.version}[/]: {told(one)}")


@app.command()
@exporting(_export, of_keras)
def mobilenet(
    weights: Annotated[
        str,
        typer.Option(
            help="imagenet, bundled, random, or a weights file; several, with commas between, "
            "are tried in order."
        ),
    ] = "imagenet",
    alpha: Annotated[float | None, typer.Option(help="Width multiplier; 1.0.")] = None,
    size: Annotated[int | None, typer.Option(help="Input height and width; 224.")] = None,
    labels: Labels = None,
    pixels: Pixels = None,
) -> "Model[Source]":
    """Export keras.applications.MobileNet."""
    _check(pixels)

    def load() -> "Source":
        from crossrun_export import sources

        *others, last = weights.split(",")
        for choice in others:
            try:
                return sources.mobilenet(alpha, size, choice, labels, pixels)
            except ExportError as error:
                say(f"not {choice}: {error}")
        return sources.mobilenet(alpha, size, last, labels, pixels)

    return Model(load, "mobilenet")


@app.command(name="keras")
@exporting(_export, of_keras)
def keras_file(
    file: Annotated[Path, typer.Argument(help="A model saved as .keras.")],
    pixels: Pixels = None,
    labels: Labels = None,
    scores: Annotated[
        HeadKind | None,
        typer.Option(help="What the scores are, where neither graph nor scores tell."),
    ] = None,
    scores_output: Annotated[
        str | None, typer.Option(help="Which of several outputs has the scores.")
    ] = None,
    float32: Annotated[
        bool, typer.Option("--float32", help="Compute in float32, whatever the layers say.")
    ] = False,
    custom: Annotated[
        Path | None,
        typer.Option(help="Python file, which is run, with the model's own layers and functions."),
    ] = None,
    trust_lambda: Annotated[
        bool, typer.Option("--trust-lambda", help="Run the code that its Lambda layers are.")
    ] = False,
) -> "Model[Source]":
    """Export any Keras image classifier."""
    _check(pixels)

    def load() -> "Source":
        from crossrun_export import sources

        how = Loading(scores_output, trust_lambda, custom, float32)
        return sources.keras_file(file, pixels, labels, how)

    return Model(load, file.stem, scores)


@app.command()
def pictures(
    directory: Annotated[Path, typer.Argument(help="Folder to make.")],
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 200,
    seed: Annotated[int, typer.Option(help="Other seeds, other pictures.")] = 1,
    size: Annotated[int, typer.Option(min=32, help="Height and width.")] = 256,
    objects: Annotated[
        Literal["one", "several"], typer.Option(help="In a picture; several overlap.")
    ] = "one",
) -> None:
    """Draw pictures for the bundled models: DIR/CLASS/*.png, or DIR/pictures/*.png of several.

    Either way DIR/boxes.json tells, in COCO's form, what is where.
    """
    from crossrun_export import scenes

    with console.status(f"drawing {count} pictures"):
        scenes.write_folder(directory, count, seed, size, objects)


@app.command()
def train(
    output: Annotated[Path, typer.Option(help="Folder to write the weights to.")],
) -> None:
    """Train the bundled model again: draws its pictures, takes about half an hour on two cores."""
    from crossrun_export.train import train as train_again

    top1 = train_again(output)
    console.print(f"[bold]{output}[/]: top-1 {top1:.2%} on held-out pictures", highlight=False)


app.command(name="saved-model")(foreign.saved_model)
app.command()(detector.detector)
app.command()(detector.train_detector)


def _check(pixels: str | None) -> None:
    """Raise what is wrong with --pixels before TensorFlow is loaded."""
    if pixels is not None:
        scaling.parse(pixels)


def main() -> None:
    """Run the command; what goes wrong is one line and exit code 1."""
    # An end by SIGTERM leaves every `with` too, so that nothing half-written stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        app()
    except (ExportError, OSError) as error:
        raise SystemExit(f"crossrun-export: {error}") from error
    except ModuleNotFoundError as error:
        told = distribution.missing(error.name, "cpu,export")
        raise SystemExit(f"crossrun-export: {told}") from error
