"""The commands that ask a server about pictures."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from crossrun_client import pictures, saving, vision
from crossrun_client.cli import documents, tables
from crossrun_client.cli.app import AsJson, ModelOption, command
from crossrun_client.connection import Connection

SECONDS = 60.0
_BATCH = 8
Places = Annotated[list[Path], typer.Argument(help="JPEG or PNG files, or folders of them.")]


@command(SECONDS)
def classify(
    connection: Connection,
    places: Places,
    model: ModelOption = "",
    top_k: Annotated[int, typer.Option(min=1, help="Classes for each picture.")] = 5,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Lowest score.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Ask what pictures show."""
    files = pictures.named(places)
    answers = []
    for start in range(0, len(files), _BATCH):
        group = list(files)[start : start + _BATCH]
        images = [pictures.read(file) for file in group]
        answers += vision.classify(connection, model, images, top_k, min_score)
    named = list(zip(files.values(), answers, strict=True))
    if as_json:
        documents.show([{"name": name, "classes": list(map(asdict, one))} for name, one in named])
    else:
        tables.show(tables.of_classes(named))


@command(SECONDS)
def detect(
    connection: Connection,
    places: Places,
    model: ModelOption = "",
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Lowest score; the model's own by default."),
    ] = None,
    max_detections: Annotated[
        int | None, typer.Option(min=1, help="Most objects in a picture.")
    ] = None,
    iou_threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Overlap above which the box with the lower score is dropped."
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label to look for, all by default; may be repeated.")
    ] = None,
    tiles: Annotated[
        str,
        typer.Option(
            metavar="COLUMNSxROWS", help="Look at tiles of each picture, too, for small objects."
        ),
    ] = "",
    save: Annotated[
        Path | None, typer.Option(help="Folder for the pictures with boxes drawn on them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask which objects pictures show, and where."""
    files = pictures.named(places)
    kept = saving.places(files, save) if save else {}
    question = vision.Question(
        model, min_score, max_detections, iou_threshold, tuple(label or ()), _tiles(tiles)
    )
    answers = []
    for file, name in files.items():
        image = pictures.read(file)
        seen = vision.detect(connection, question, image)
        if file in kept:
            saving.keep(image, seen, kept[file])
        answers.append((name, seen))
    if as_json:
        documents.show([{"name": name} | asdict(seen) for name, seen in answers])
    else:
        tables.show(tables.of_objects(answers))


def _tiles(text: str) -> tuple[int, int] | None:
    """Read 3x2; None for an empty text."""
    if not text:
        return None
    columns, _, rows = text.partition("x")
    if not (columns.isdecimal() and rows.isdecimal() and int(columns) and int(rows)):
        raise typer.BadParameter(
            f"{text!r}, expected columns and rows, such as 2x2", param_hint="--tiles"
        )
    return int(columns), int(rows)
