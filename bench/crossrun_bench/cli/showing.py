"""The commands that show, compare, classify and detect, and the one that runs all others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from crossrun_bench import store
from crossrun_bench.cli import parsing
from crossrun_bench.cli.app import app, check, command
from crossrun_bench.cli.options import Address, AsJson, OnlyModel
from crossrun_bench.cli.output import print_json, print_line
from crossrun_bench.compare.verdicts import APART, Condition, condition
from crossrun_bench.files import read_text, write_text

# ruff: noqa: PLC0415 - the heavy half of a command is imported when that command runs


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Results of the commands that measure.")],
    output: Annotated[Path | None, typer.Option(help="Write one HTML page here.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write Markdown here, pictures in a folder beside.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="Renew the tables in this Markdown where it marks them."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Show the pictures of this folder, such as detect --save keeps."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show results: tables here, and as Markdown or as one self-contained HTML page."""
    from crossrun_bench.report import html, terminal
    from crossrun_bench.report import markdown as md
    from crossrun_bench.report.chapters import chapters
    from crossrun_bench.report.gallery import gallery

    if pictures and not (output or markdown):
        raise typer.BadParameter("needs --output or --markdown", param_hint="--pictures")
    read = [result for file in files for result in store.read_all(file)]
    shown, kept = chapters(read), gallery(pictures) if pictures else ()
    if markdown:
        md.write(markdown, shown, kept)
    if output:
        write_text(output, html.render(shown, kept))
    if into:
        write_text(into, md.renewed(read_text(into), shown))
    if as_json:
        print_json([store.to_document(result) for result in read])
    else:
        terminal.show(shown)
        for written in filter(None, (output, markdown, into)):
            print_line(f"report: {written}")


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="TOML file, or quick, readme or full.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the study; build/SUITE by default.")
    ] = None,
) -> None:
    """Run a whole study, from export to report. Called again, it continues where it stopped."""
    from crossrun_bench import suite as suites
    from crossrun_bench.report import html, terminal
    from crossrun_bench.report import markdown as md
    from crossrun_bench.report.chapters import chapters

    folder = output or Path("build", Path(suite).stem)
    shown = chapters(suites.run(suites.read(suite, folder), command(), check))
    md.write(folder / "report.md", shown)
    write_text(folder / "report.html", html.render(shown))
    terminal.show(shown)
    for name in ("study.json", "report.md", "report.html"):
        print_line(f"study: {folder / name}")


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
        float, typer.Option(min=0, help="Percent by which two runs of the same thing differ.")
    ] = APART,
    relative_to: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET", help="Compare times as multiples of this target's in the same file."
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write GitHub's Markdown here; - for stdout, without tables."),
    ] = None,
    allow_unlike: Annotated[
        bool, typer.Option("--allow-unlike", help="Compare unlike machines or models all the same.")
    ] = False,
) -> None:
    """Show what changed from A to B by more than noise; exit status 1 if a condition is broken."""
    from crossrun_bench.compare.command import compare as compare_
    from crossrun_bench.report import comparison, terminal
    from crossrun_bench.report import markdown as md

    conditions = _conditions(fail_if or [])
    compared = compare_(
        store.read(before),
        store.read(after),
        apart=apart,
        allow_unlike=allow_unlike,
        reference=relative_to,
    )
    broken = {condition: compared.broken(condition) for condition in conditions}
    tables = comparison.tables(compared, broken, (before.name, after.name))
    if markdown == Path("-"):
        print_line(md.document(tables).rstrip())
    else:
        terminal.show_tables(tables)
        if markdown:
            write_text(markdown, md.document(tables))
            print_line(f"comparison: {markdown}")
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
    target: Address = "127.0.0.1:8001",
    name: OnlyModel = "",
    top_k: Annotated[int, typer.Option(min=1, help="Classes for each picture.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Ask a running server what pictures show."""
    from crossrun_bench.client.classify import named
    from crossrun_bench.report import terminal

    answers = named(images, target, name, top_k)
    if as_json:
        print_json({str(file): classes for file, classes in answers.items()})
    else:
        terminal.show_classes(answers)


@app.command()
def detect(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="JPEG or PNG files, videos, or folders of them.", show_default=False),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(help="Number or device of a camera to watch until Ctrl-C, instead of files."),
    ] = None,
    target: Address = "127.0.0.1:8001",
    name: OnlyModel = "",
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
    """Ask a running server which objects pictures, videos or a camera show, and where."""
    from dataclasses import asdict

    from crossrun_bench.client.asking import Question
    from crossrun_bench.client.detect import detect as detect_
    from crossrun_bench.client.detect import record
    from crossrun_bench.report import detections, terminal

    if bool(files) == (camera is not None):
        raise typer.BadParameter("expected files, or --camera without files")
    question = Question(
        name, min_score, max_detections, iou_threshold, tuple(label or ()), parsing.tiles(tiles)
    )
    if camera is None:
        found = detect_(files or (), target, question, save)
    else:
        found = [record(camera, target, question, save)]
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        terminal.show_tables(detections.tables(found))
        if save:
            print_line(f"pictures: {save}")
