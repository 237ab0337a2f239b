"""Options that several commands have, by what each is. Knows no command."""

from pathlib import Path
from typing import Annotated

import typer

from crossrun_bench.machine import noise
from crossrun_bench.targets.targets import TARGETS

Models = Annotated[Path, typer.Argument(help="Model repository that holds the model.")]
Name = Annotated[str, typer.Option("--model", help="Name of the model in the repository.")]
Images = typer.Option(
    help="Folder of class folders of JPEG or PNG, or 'bundled' to draw some; for a detector, "
    "COCO's JSON, a folder that has it, or photographs alone."
)
SkipUnknown = Annotated[
    bool,
    typer.Option(
        "--skip-unknown-folders", help="Skip pictures whose folder is not a class of the model."
    ),
]
Batches = Annotated[
    str,
    typer.Option(
        help="Pictures in a request, comma-separated.",
        show_default="some from 1 on; 1 where the model takes no more",
    ),
]
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
ProofTolerance = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Also measure targets that differ by this much from the original's answers.",
        show_default="the proof's own",
    ),
]
RequireQuiet = Annotated[
    bool,
    typer.Option(
        "--require-quiet", help=f"Fail where others use over {noise.LIMIT:.0%} of the cores."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, not a table.")]
Address = Annotated[
    str, typer.Option(help="HOST:PORT of a running server, or grpcs://HOST:PORT for TLS.")
]
OnlyModel = Annotated[
    str, typer.Option("--model", help="Model; may be left out if the server has only one.")
]
