"""Which pixels the export finds for every model of keras.applications, and whether it exports it.

    .venv/bin/python export/studies/applications.py [NAME ...]

Writes the table of docs/export-assumptions.md, or the rows of the functions named. Models have
random weights and small inputs. What is found is held against `preprocess_input` of the function's
own module, number by number; what is exported, against Keras.
"""

import gc
import re
import sys
import tempfile
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from crossrun_export import scenes, verify
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Options, Tolerance
from crossrun_export.pipeline import export
from crossrun_export.preprocessing import assume
from crossrun_export.sources import Source

PAGE = Path(__file__).parents[2] / "docs" / "export-assumptions.md"
SIZE = 75  # the least that all of them take
CLASSES = 10
COLUMNS = ("function", "pixels", "why", "as its preprocess_input", "exported")
HEADER = f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"
LAYERS = "include_preprocessing"


def main(names: list[str]) -> None:
    """Export what is named, or all, and write the table."""
    every = sorted(name for name in dir(keras.applications) if name[0].isupper())
    for name in names or every:
        function = getattr(keras.applications, name)
        for options in ({}, {LAYERS: False}) if LAYERS in signature(function).parameters else ({},):
            row = _row(name, function, options)
            print(row, flush=True)  # noqa: T201 - what a person waits for
            _write(row)
            keras.backend.clear_session()
            gc.collect()


def _row(name: str, function: Any, options: dict[str, bool]) -> str:
    words = "".join(f" {key}={value}" for key, value in options.items())
    model = function(input_shape=(SIZE, SIZE, 3), weights=None, classes=CLASSES, **options)
    first = f"`{name}`{words}"
    try:
        preprocessing = assume(model, None)
    except ExportError as error:
        reason = str(error).split(";")[0].removeprefix(model.name)
        return f"| {first} | refused | it{reason} | | |"
    found = f"{preprocessing.scaling.name} | {preprocessing.because}"
    if options:  # `preprocess_input` is not for it, and but for its first layers it is the same
        return f"| {first} | {found} | | |"
    source = Source(model, (), "random", "", preprocessing)
    _tell_apart(source)
    return f"| {first} | {found} | {_as_keras(source, function)} | {_exported(source)} |"


def _tell_apart(source: Source) -> None:
    """Give each batch norm the statistics of some pictures: else all scores are the same."""
    pixels, _ = scenes.batch(2, 0, 8, SIZE)
    for layer in source.model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    source.model(verify.inputs_of(source, pixels, "float32"), training=True)


def _as_keras(source: Source, function: Any) -> str:
    """Compare what the model would be given with what its own module would give it."""
    pixels, _ = scenes.batch(1, 0, 2, SIZE)
    module = sys.modules[function.__module__]
    expected = module.preprocess_input(pixels.astype(np.float32))
    got = verify.inputs_of(source, pixels, "float32")
    return "yes" if np.allclose(got, expected, rtol=0, atol=1e-4) else "no"


def _exported(source: Source) -> str:
    """Export it, to nowhere."""
    with tempfile.TemporaryDirectory() as folder:
        options = Options(Path(folder), "model", "uint8", "stretch", None, Tolerance())
        try:
            (one,) = export(source, options)
        except ExportError as error:
            return f"refused: {' '.join(str(error).split())}"
    return f"equal, {one.made.cost.max_abs_diff:.0e}"


def _write(row: str) -> None:
    """Put a row into the table, in the place of an older one."""
    text = PAGE.read_text()
    before, table, after = re.split("<!-- (?:table|end) -->\n", text)
    rows = {line.split("|")[1]: line for line in table.splitlines()[2:]}
    rows[row.split("|")[1]] = row
    lines = "\n".join([HEADER, *(rows[key] for key in sorted(rows))])
    PAGE.write_text(f"{before}<!-- table -->\n{lines}\n<!-- end -->\n{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
