"""The commands of crossrun-export that are about detectors."""

from pathlib import Path
from typing import Annotated

import typer

from crossrun_export.console import console, say
from crossrun_export.detector.settings import (
    BUNDLED,
    Data,
    Options,
    Resize,
    Thresholds,
    Tolerance,
    Training,
    Weights,
)
from crossrun_export.options import InputDtype, check_limits, precisions

# TensorFlow takes seconds to import: what needs it is imported where it is used.
# ruff: noqa: PLC0415

Backbone = Annotated[
    str,
    typer.Option(help="imagenet, bundled (the classifier's), random, or a MobileNet's weights."),
]


def detector(
    output: Annotated[Path, typer.Option(help="Model repository to write to.")],
    weights: Annotated[
        str, typer.Option(help="bundled, random, or a file that train-detector wrote.")
    ] = Weights.source,
    backbone_weights: Annotated[
        str | None,
        typer.Option(help="With random weights: those of MobileNet, as train-detector takes them."),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Width multiplier; the weights'.")] = None,
    size: Annotated[int | None, typer.Option(help="Input height and width; the weights'.")] = None,
    name: Annotated[str, typer.Option(help="Name of the model in the repository.")] = "detector",
    labels: Annotated[
        Path | None, typer.Option(help="File with one label a line; the weights'.")
    ] = None,
    input_dtype: Annotated[
        InputDtype, typer.Option(help="uint8 pixels, or what the Keras model takes.")
    ] = "uint8",
    resize: Annotated[Resize, typer.Option(help="What the server does to pictures.")] = "letterbox",
    score_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least score, where a request names none.")
    ] = Thresholds.score,
    iou_threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Of two boxes of a class that overlap more, one.")
    ] = Thresholds.iou,
    max_detections: Annotated[
        int, typer.Option(min=1, help="In a picture; requests can ask for fewer.")
    ] = Thresholds.most,
    precision: Annotated[
        str, typer.Option(help="Some of fp32, int8 and fp16, with commas; each its own model.")
    ] = "fp32",
    data: Annotated[
        Path | None,
        typer.Option(help="COCO data set to verify, calibrate and measure on; drawn pictures."),
    ] = None,
    max_diff: Annotated[
        float, typer.Option(min=0, help="Largest difference of a score or a corner, 0 to 1.")
    ] = Tolerance.max_diff,
    max_map_drop: Annotated[
        float | None,
        typer.Option(
            min=0, help=f"Points of mAP that int8 and fp16 may lose; {Tolerance.max_map_drop}."
        ),
    ] = None,
) -> None:
    """Export an object detector: boxes decoded and non-maximum suppression inside the graph."""
    wanted = precisions(precision)
    check_limits({"max-map-drop": max_map_drop}, set(wanted) != {"fp32"})
    drop = Tolerance.max_map_drop if max_map_drop is None else max_map_drop
    options = Options(
        output=output,
        name=name,
        input_dtype=input_dtype,
        resize=resize,
        precisions=wanted,
        data=data,
        thresholds=Thresholds(score_threshold, iou_threshold, max_detections),
        tolerance=Tolerance(max_diff, drop),
    )
    with console.status("loading TensorFlow and the weights") as status:
        from crossrun_export.detector.load import load
        from crossrun_export.detector.pipeline import export, told

        source = load(Weights(weights, backbone_weights, alpha, size), labels)
        say(f"exporting {source.model.name}, {source.weights} weights")
        exported = export(source, options, status.update)
    for version, made in exported:
        say(f"[bold]{version}[/]: {told(made)}")


def train_detector(
    output: Annotated[Path, typer.Option(help="Folder to write the weights to.")],
    data: Annotated[
        str, typer.Option(help="A COCO data set, JSON file or folder with boxes.json; or bundled.")
    ] = BUNDLED,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of its pictures; that of the JSON file.")
    ] = None,
    held_out: Annotated[
        Path | None, typer.Option(help="Another such data set to measure on; one picture in ten.")
    ] = None,
    backbone_weights: Backbone = Training.backbone,
    alpha: Annotated[float, typer.Option(help="Width multiplier of MobileNet.")] = Training.alpha,
    size: Annotated[int, typer.Option(help="Input height and width; of 32.")] = Training.size,
    epochs: Annotated[int, typer.Option(min=1, help="Times each is seen.")] = Training.epochs,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in a step.")] = Training.batch,
    rate: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = Training.rate,
    seed: Annotated[int, typer.Option(min=0, help="Of all chance.")] = Training.seed,
    drawn: Annotated[int, typer.Option(min=1, help="How many are drawn, if bundled.")] = Data.drawn,
) -> None:
    """Train a detector; run again, training that was ended goes on where it was.

    On the bundled pictures the defaults give the bundled weights, in about half an hour on two
    cores.
    """
    from crossrun_export.detector import data as sets
    from crossrun_export.detector.train import train

    training = Training(alpha, size, backbone_weights, epochs, batch, rate, seed)
    wanted = Data(data, pictures, held_out, drawn)
    reached = train(sets.load(wanted, training), training, output, wanted.source)
    console.print(
        f"[bold]{output}[/]: mAP@0.5 {reached.at_half:.4f}, mAP@[.5:.95] {reached.mean:.4f} "
        "on held-out pictures",
        highlight=False,
        markup=True,
    )
