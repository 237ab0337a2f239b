"""crossrun-export: reads the command line, shows progress, turns errors into one line."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crossrun_export import distribution, scaling
from crossrun_export.console import console, say
from crossrun_export.detector import cli as detector
from crossrun_export.errors import ExportError
from crossrun_export.options import (
    HeadKind,
    InputDtype,
    Limits,
    Loading,
    Localize,
    Options,
    Resize,
    Tolerance,
    limits,
    precisions,
)

# TensorFlow takes seconds to import: what needs it is imported where it is used.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from crossrun_export.sources import Source

app = typer.Typer(
    help="Export a Keras image classifier to ONNX, proven equal, into a model repository.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

BUNDLED = "bundled"  # of pictures: drawn ones

Output = Annotated[Path, typer.Option(help="Model repository to write to.")]
Name = Annotated[str, typer.Option(help="Name of the model in the repository.")]
Labels = Annotated[Path | None, typer.Option(help="File with one label a line.")]
Dtype = Annotated[InputDtype, typer.Option(help="uint8 pixels, or what the Keras model takes.")]
Images = Annotated[Path | None, typer.Option(help="Verify on these photographs.")]
MaxDiff = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Largest difference of any score; 1e-4, or 5e-3 in half precision, times the "
        "largest logit.",
    ),
]
Agreement = Annotated[float, typer.Option(min=0, max=1, help="Least share of equal top-1, top-5.")]
ResizeOption = Annotated[Resize, typer.Option(help="What the server does to pictures.")]
PrecisionOption = Annotated[
    str, typer.Option(help="Some of fp32, int8 and fp16, with commas; each is a model of its own.")
]
Calibration = Annotated[
    str,
    typer.Option(help="Folder of pictures to calibrate int8 on, or 'bundled' to draw them."),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Points of top-1 that int8 and fp16 may lose, measured or refused; "
        f"{Limits.max_top1_drop} where pictures have labels.",
    ),
]
ReducedAgreement = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=f"Least share of equal top-1 for int8 and fp16; {Limits.min_agreement}.",
    ),
]
SkipUnknown = Annotated[
    bool,
    typer.Option(
        "--skip-unknown-folders", help="Pass over pictures whose folder is no class of the model."
    ),
]

ScoresOption = Annotated[
    HeadKind | None,
    typer.Option(help="What the scores are, where neither graph nor scores tell."),
]
PixelsOption = Annotated[
    str | None,
    typer.Option(help=f"What the model takes: {scaling.EXPECTED}; found out if left out."),
]
LocalizeOption = Annotated[
    bool,
    typer.Option("--localize", help="Also say where: heat maps and boxes."),
]
TopK = Annotated[int, typer.Option(min=1, help="Classes to say it of.")]
BoxThreshold = Annotated[
    float, typer.Option(min=0.01, max=1, help="Share of a heat map's range that a box holds.")
]
Zoom = Annotated[bool, typer.Option(help="Look twice: better boxes, three times the work.")]


@app.command()
def mobilenet(
    output: Output,
    weights: Annotated[
        str,
        typer.Option(
            help="imagenet, bundled, random, or a weights file; several, with commas between, "
            "are tried in order."
        ),
    ] = "imagenet",
    alpha: Annotated[float | None, typer.Option(help="Width multiplier; 1.0.")] = None,
    size: Annotated[int | None, typer.Option(help="Input height and width; 224.")] = None,
    name: Name = "mobilenet",
    labels: Labels = None,
    pixels: PixelsOption = None,
    input_dtype: Dtype = "uint8",
    images: Images = None,
    max_diff: MaxDiff = Tolerance.max_diff,
    min_agreement: Agreement = Tolerance.min_agreement,
    resize: ResizeOption = "stretch",
    precision: PrecisionOption = "fp32",
    calibration: Calibration = BUNDLED,
    max_top1_drop: MaxDrop = None,
    min_reduced_agreement: ReducedAgreement = None,
    skip_unknown_folders: SkipUnknown = False,
    localize: LocalizeOption = False,
    top_k: TopK = Localize.top_k,
    box_threshold: BoxThreshold = Localize.threshold,
    zoom: Zoom = Localize.zoom,
) -> None:
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

    _export(
        load,
        Options(
            output,
            name,
            input_dtype,
            resize,
            images,
            Tolerance(max_diff, min_agreement),
            precisions(precision),
            _folder(calibration, precision),
            _limits(max_top1_drop, min_reduced_agreement, precision),
            Localize(top_k, box_threshold, zoom) if localize else None,
            skip_unknown_folders,
        ),
    )


@app.command(name="keras")
def keras_file(
    file: Annotated[Path, typer.Argument(help="A model saved as .keras.")],
    output: Output,
    name: Annotated[str | None, typer.Option(help="Name of the model; the file's.")] = None,
    pixels: PixelsOption = None,
    labels: Labels = None,
    input_dtype: Dtype = "uint8",
    images: Images = None,
    max_diff: MaxDiff = Tolerance.max_diff,
    min_agreement: Agreement = Tolerance.min_agreement,
    resize: ResizeOption = "stretch",
    precision: PrecisionOption = "fp32",
    calibration: Calibration = BUNDLED,
    max_top1_drop: MaxDrop = None,
    min_reduced_agreement: ReducedAgreement = None,
    skip_unknown_folders: SkipUnknown = False,
    localize: LocalizeOption = False,
    top_k: TopK = Localize.top_k,
    box_threshold: BoxThreshold = Localize.threshold,
    zoom: Zoom = Localize.zoom,
    scores: ScoresOption = None,
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
) -> None:
    """Export any Keras image classifier."""
    _check(pixels)

    def load() -> "Source":
        from crossrun_export import sources

        how = Loading(scores_output, trust_lambda, custom, float32)
        return sources.keras_file(file, pixels, labels, how)

    _export(
        load,
        Options(
            output,
            name or file.stem,
            input_dtype,
            resize,
            images,
            Tolerance(max_diff, min_agreement),
            precisions(precision),
            _folder(calibration, precision),
            _limits(max_top1_drop, min_reduced_agreement, precision),
            Localize(top_k, box_threshold, zoom) if localize else None,
            skip_unknown_folders,
            scores,
        ),
    )


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


app.command()(detector.detector)
app.command()(detector.train_detector)


def _check(pixels: str | None) -> None:
    """Raise what is wrong with --pixels before TensorFlow is loaded."""
    if pixels is not None:
        scaling.parse(pixels)


def _folder(calibration: str, precision: str) -> Path | None:
    if calibration == BUNDLED:
        return None
    if "int8" not in precisions(precision):
        raise ExportError(f"--calibration is for int8, and --precision asks for {precision} only")
    return Path(calibration)


def _limits(max_drop: float | None, agreement: float | None, precision: str) -> Limits:
    return limits(max_drop, agreement, reduced=set(precisions(precision)) != {"fp32"})


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
