"""The commands of crossrun-export that are about detectors."""

from pathlib import Path
from typing import Annotated

import typer

from crossrun_export.console import console
from crossrun_export.detector.settings import BUNDLED, Data, Training

# TensorFlow takes seconds to import: what needs it is imported where it is used.
# ruff: noqa: PLC0415

Backbone = Annotated[
    str,
    typer.Option(help="imagenet, bundled (the classifier's), random, or a MobileNet's weights."),
]


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
