"""The options that the exports of all Keras classifiers have, each spelt once.

Light, as the command line reads it before TensorFlow is there.
"""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import typer

from crossrun_export.errors import ExportError
from crossrun_export.options import (
    HeadKind,
    InputDtype,
    Limits,
    Localize,
    Options,
    Resize,
    Tolerance,
    limits,
    precisions,
)

BUNDLED = "bundled"  # of pictures: drawn ones
Loaded = TypeVar("Loaded")
Asked = TypeVar("Asked")


class Model(NamedTuple, Generic[Loaded]):
    """What a command exports."""

    load: Callable[[], Loaded]
    name: str  # in the repository, if no other is given
    scores: HeadKind | None = None  # what they are, if the caller says so


def exporting(
    export: Callable[[Callable[[], Loaded], Asked], None], options: Callable[..., Asked]
) -> Callable[[Callable[..., Model[Loaded]]], Callable[..., None]]:
    """Make a command of a function that returns a model: add options, and export.

    Args:
        export: exports what is loaded, as the options say.
        options: makes them of a model and of what its further parameters, which the command gets
            as well, are given.
    """

    def make(command: Callable[..., Model[Loaded]]) -> Callable[..., None]:
        own = dict(inspect.signature(command).parameters)
        _, *names = shared = dict(inspect.signature(options).parameters)

        @functools.wraps(command)
        def run(**given: object) -> None:
            model = command(**{name: given[name] for name in own})
            export(model.load, options(model, **{name: given[name] for name in names}))

        every = [shared["output"], *own.values(), *(shared[name] for name in names[1:])]
        keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in every]
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in keywords}
        return run

    return make


def of_keras(  # noqa: PLR0913, PLR0917 - the options of a command are its arguments
    model: Model[Any],
    output: Annotated[Path, typer.Option(help="Model repository to write to.")],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model in the repository; mobilenet, or the file's."),
    ] = None,
    input_dtype: Annotated[
        InputDtype, typer.Option(help="uint8 pixels, or what the Keras model takes.")
    ] = "uint8",
    images: Annotated[Path | None, typer.Option(help="Verify on these photographs.")] = None,
    max_diff: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest difference of any score; 1e-4, or 5e-3 in half precision, times the "
            "largest logit.",
        ),
    ] = Tolerance.max_diff,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of equal top-1, top-5.")
    ] = Tolerance.min_agreement,
    resize: Annotated[Resize, typer.Option(help="What the server does to pictures.")] = "stretch",
    precision: Annotated[
        str,
        typer.Option(help="Some of fp32, int8 and fp16, with commas; each is a model of its own."),
    ] = "fp32",
    calibration: Annotated[
        str,
        typer.Option(help="Folder of pictures to calibrate int8 on, or 'bundled' to draw them."),
    ] = BUNDLED,
    max_top1_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Points of top-1 that int8 and fp16 may lose, measured or refused; "
            f"{Limits.max_top1_drop} where pictures have labels.",
        ),
    ] = None,
    min_reduced_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help=f"Least share of equal top-1 for int8 and fp16; {Limits.min_agreement}.",
        ),
    ] = None,
    skip_unknown_folders: Annotated[
        bool,
        typer.Option(
            "--skip-unknown-folders",
            help="Pass over pictures whose folder is no class of the model.",
        ),
    ] = False,
    localize: Annotated[
        bool, typer.Option("--localize", help="Also say where: heat maps and boxes.")
    ] = False,
    top_k: Annotated[int, typer.Option(min=1, help="Classes to say it of.")] = Localize.top_k,
    box_threshold: Annotated[
        float,
        typer.Option(min=0.01, max=1, help="Share of a heat map's range that a box holds."),
    ] = Localize.threshold,
    zoom: Annotated[
        bool, typer.Option(help="Look twice: better boxes, three times the work.")
    ] = Localize.zoom,
) -> Options:
    """What is asked of the export of a Keras classifier."""
    wanted = precisions(precision)
    return Options(
        output=output,
        name=name or model.name,
        input_dtype=input_dtype,
        resize=resize,
        precisions=wanted,
        images=images,
        tolerance=Tolerance(max_diff, min_agreement),
        calibration=calibration_folder(calibration, precision),
        limits=limits(max_top1_drop, min_reduced_agreement, reduced=set(wanted) != {"fp32"}),
        localize=Localize(top_k, box_threshold, zoom) if localize else None,
        skip_unknown=skip_unknown_folders,
        scores=model.scores,
    )


def calibration_folder(calibration: str, precision: str) -> Path | None:
    """The folder that --calibration names; None draws pictures.

    Raises:
        ExportError: nothing is calibrated.
    """
    if calibration == BUNDLED:
        return None
    if "int8" not in precisions(precision):
        raise ExportError(f"--calibration is for int8, and --precision asks for {precision} only")
    return Path(calibration)
