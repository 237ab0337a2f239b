"""The commands of crossrun-export that adopt models which Keras did not make.

Light: what needs TensorFlow is imported where it is used.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossrun_export import scaling
from crossrun_export.cli_options import BUNDLED, Model, calibration_folder, exporting
from crossrun_export.console import console, say
from crossrun_export.detector.settings import Thresholds
from crossrun_export.detector.settings import Tolerance as DetectorTolerance
from crossrun_export.foreign import settings
from crossrun_export.foreign.said import (
    Background,
    BoxOrder,
    BoxUnit,
    DetectionHead,
    LayoutName,
    Said,
)
from crossrun_export.foreign.settings import Options
from crossrun_export.options import (
    AnyResize,
    HeadKind,
    InputDtype,
    Limits,
    Tolerance,
    check_limits,
    limits,
    precisions,
)

# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from crossrun_export.foreign.source import ForeignSource


def _export(load: "Callable[[], ForeignSource]", options: Options) -> None:
    with console.status("loading the model") as status:
        from crossrun_export.foreign.export import export

        source = load()
        signature = f", signature {source.signature}" if source.signature else ""
        say(f"exporting {source.name}{signature}")
        exported = export(source, options, status.update, say)
    for version, told in exported:
        say(f"[bold]{version}[/]: {told}")


def _options(
    model: Model[Any],
    output: Annotated[Path, typer.Option(help="Model repository to write to.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="One label a line, numbers and labels, or a label map of TensorFlow's API."
        ),
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option(help=f"What the model takes, if it does not tell: {scaling.EXPECTED}."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="HEIGHTxWIDTH of the input, if the model takes any; free if left out."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model in the repository; the file's.")
    ] = None,
    input_dtype: Annotated[
        InputDtype, typer.Option(help="uint8 pixels, or what the model takes.")
    ] = "uint8",
    resize: Annotated[
        AnyResize, typer.Option(help="What the server does to pictures.")
    ] = "stretch",
    images: Annotated[Path | None, typer.Option(help="Verify on these photographs.")] = None,
    precision: Annotated[
        str,
        typer.Option(help="Some of fp32, int8 and fp16, with commas; each is a model of its own."),
    ] = "fp32",
    calibration: Annotated[
        str,
        typer.Option(help="Folder of pictures to calibrate int8 on, or 'bundled' to draw them."),
    ] = BUNDLED,
    max_diff: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Largest difference of a score, and of a corner in shares of the input; 1e-4, or "
            "what suits a classifier's scores.",
        ),
    ] = None,
    min_reduced_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Least share of equal top-1, or of detections that the source finds too, for "
            f"int8 and fp16 without labels; {Limits.min_agreement}.",
        ),
    ] = None,
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Classifier: least share of equal top-1, top-5.")
    ] = Tolerance.min_agreement,
    max_top1_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Classifier: points of top-1 that int8 and fp16 may lose, measured or refused; "
            f"{Limits.max_top1_drop} where pictures have labels.",
        ),
    ] = None,
    scores: Annotated[
        HeadKind | None,
        typer.Option(help="Classifier: what the scores are, where neither graph nor scores tell."),
    ] = None,
    scores_output: Annotated[
        str | None, typer.Option(help="Classifier: which of several outputs has the scores.")
    ] = None,
    skip_unknown_folders: Annotated[
        bool,
        typer.Option(
            "--skip-unknown-folders",
            help="Classifier: pass over pictures whose folder is no class of the model.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Detector: COCO data set to verify, calibrate and measure on."),
    ] = None,
    score_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Detector: least score, if a request names none.")
    ] = Thresholds.score,
    iou_threshold: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Detector: of two boxes of a class that overlap more, one, in graph."
        ),
    ] = Thresholds.iou,
    max_detections: Annotated[
        int, typer.Option(min=1, help="Detector: in a picture; requests can ask for fewer.")
    ] = Thresholds.most,
    max_map_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Detector: points of mAP on --data that int8 and fp16 may lose; "
            f"{DetectorTolerance.max_map_drop}.",
        ),
    ] = None,
    layout: Annotated[
        LayoutName | None,
        typer.Option(help="Detector: how its outputs are laid out, if they do not tell."),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="PART=OUTPUT", help="Detector: which output is boxes, scores, …"),
    ] = None,
    box_order: Annotated[
        BoxOrder | None, typer.Option(help="Detector: in which order the sides of a box are.")
    ] = None,
    box_unit: Annotated[
        BoxUnit | None, typer.Option(help="Detector: in shares of the input, or in its pixels.")
    ] = None,
    first_class: Annotated[
        int | None, typer.Option(min=0, help="Detector: the number of the first label.")
    ] = None,
    background: Annotated[
        Background | None, typer.Option(help="Detector: which score of each class is of none.")
    ] = None,
    head: Annotated[
        DetectionHead | None, typer.Option(help="Detector: what the scores of each class are.")
    ] = None,
) -> Options:
    if pixels is not None:
        scaling.parse(pixels)  # raises what is wrong before TensorFlow is loaded
    wanted = precisions(precision)
    reduced = set(wanted) != {"fp32"}
    check_limits({"max-map-drop": max_map_drop}, reduced)
    return Options(
        output=output,
        name=name or model.name,
        input_dtype=input_dtype,
        resize=resize,
        precisions=wanted,
        labels=labels,
        pixels=pixels,
        size=settings.size(size),
        images=images,
        calibration=calibration_folder(calibration, precision),
        max_diff=max_diff,
        min_agreement=min_agreement,
        limits=limits(max_top1_drop, min_reduced_agreement, reduced=reduced),
        scores=scores,
        scores_output=scores_output,
        skip_unknown=skip_unknown_folders,
        data=data,
        thresholds=Thresholds(score_threshold, iou_threshold, max_detections),
        max_map_drop=DetectorTolerance.max_map_drop if max_map_drop is None else max_map_drop,
        said=Said(
            layout=layout,
            outputs=settings.parts(part or []),
            box_order=box_order,
            box_unit=box_unit,
            first_class=first_class,
            background=background,
            head=head,
        ),
    )


@exporting(_export, _options)
def saved_model(
    directory: Annotated[Path, typer.Argument(help="Folder with saved_model.pb.")],
    signature: Annotated[
        str | None, typer.Option(help="Which of several functions; the one that takes a picture.")
    ] = None,
) -> "Model[ForeignSource]":
    """Export a detector or an image classifier from a TensorFlow SavedModel."""

    def load() -> "ForeignSource":
        from crossrun_export.foreign import saved_model

        return saved_model.load(directory, signature)

    folder = directory.resolve()
    return Model(load, folder.parent.name if folder.name == "saved_model" else folder.name)
