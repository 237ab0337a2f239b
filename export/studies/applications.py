"""Which pixels the export finds for every model of keras.applications, and whether it converts it.

    .venv/bin/python export/studies/applications.py [NAME ...]

Writes the table of docs/export-assumptions.md, or the rows of the functions named. Models have
random weights and small inputs. The pixels found are held against the function's own module's
`preprocess_input`, number by number; the converted graph is held against Keras. Deep networks of
random weights may be chaotic: a difference beyond the limit is held against how far Keras's own
scores move if each weight moves to the next number, up or down.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from crossrun_export import convert, inference, scenes, verify
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.preprocessing import assume
from crossrun_export.sources import Source

PAGE = Path(__file__).parents[2] / "docs" / "export-assumptions.md"
SIZE = 75  # the least that all of them take
CLASSES = 10
SEED = 1
DRAWS = 5  # of neighbouring weights: a score that hangs by a hair does not flip in each
PICTURES, LARGEST = 9, 1e-4  # to compare on, and the largest difference that is still equal
COLUMNS = ("function", "pixels", "why", "as its `preprocess_input`", "converted")
LAYERS = "include_preprocessing"
NONE_YET = "not tried"


def main(names: list[str]) -> None:
    """Find the pixels of what is named, convert it, and write its rows; or do so for all."""
    if not names:
        for name in sorted(name for name in dir(keras.applications) if name[0].isupper()):
            _apart(name)
    for name in names:
        for options in _options(name):
            _write(_found(name, options))
        _write(_converted(name))


def _apart(name: str) -> None:
    """In a process of its own: what is too large for the memory ends no others."""
    ended = subprocess.run([sys.executable, __file__, name], check=False)
    if ended.returncode:
        row = _rows()[f"`{name}`"]
        size = psutil.virtual_memory().total / 2**30
        _write([*row[:-1], f"stopped with status {ended.returncode} in {size:.0f} GiB of memory"])


def _options(name: str) -> Iterator[dict[str, bool]]:
    yield {}
    if LAYERS in signature(getattr(keras.applications, name)).parameters:
        yield {LAYERS: False}


def _build(name: str, options: dict[str, bool]) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    function = getattr(keras.applications, name)
    return function(input_shape=(SIZE, SIZE, 3), weights=None, classes=CLASSES, **options)


def _found(name: str, options: dict[str, bool]) -> list[str]:
    """A row of the table, without its last column."""
    model = _build(name, options)
    first = f"`{name}`" + "".join(f" {key}={value}" for key, value in options.items())
    try:
        preprocessing = assume(model, None)
    except ExportError as error:
        return [first, "refused", f"it{str(error).split(';')[0].removeprefix(model.name)}", "", ""]
    found = [first, preprocessing.scaling.name, preprocessing.because]
    if options:  # `preprocess_input` is not for it, and behind its first layers it is the same
        return [*found, "", ""]
    module = sys.modules[getattr(keras.applications, name).__module__]
    pixels, _ = scenes.batch(1, 0, 2, SIZE)
    expected = module.preprocess_input(pixels.astype(np.float32))
    is_same = np.allclose(preprocessing.scaling.apply(pixels), expected, rtol=0, atol=1e-4)
    return [*found, "yes" if is_same else "no", NONE_YET]


def _converted(name: str) -> list[str]:
    """The whole row: what was found, and how equal the graph is to Keras."""
    model = _build(name, {})
    row = _rows()[f"`{name}`"]
    source = Source(model, (), "random", "", assume(model, None))
    _tell_apart(source)
    return [*row[:-1], _equality(source)]


def _tell_apart(source: Source) -> None:
    """Give each batch norm the statistics of some pictures: else all scores are the same."""
    pixels, _ = scenes.batch(2, 0, 8, SIZE)
    for layer in source.model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    source.model(inference.inputs_of(source, pixels, "float32"), training=True)


def _equality(source: Source) -> str:
    pixels, _ = scenes.batch(3, 0, PICTURES, SIZE)
    try:
        model = convert.to_onnx(source, "uint8")
    except ExportError as error:
        return f"refused: {' '.join(str(error).split())}"
    expected = inference.original_scores(source, pixels)
    parity, _ = verify.compare(expected, inference.onnx_scores(source, model, pixels))
    if parity.max_abs_diff <= LARGEST and parity.top1_agreement == 1:
        return f"equal, {parity.max_abs_diff:.0e}"
    own = _moved_by_rounding(source, pixels, expected)
    verdict = "chaotic" if own > LARGEST else "differs"
    return f"{verdict}, {parity.max_abs_diff:.0e}, Keras itself {own:.0e}"


def _moved_by_rounding(
    source: Source, pixels: NDArray[np.uint8], expected: NDArray[np.float32]
) -> float:
    """The most that Keras's own scores move if each weight moves to a next number of float32."""
    weights, draws = source.model.get_weights(), np.random.default_rng(SEED)
    most = 0.0
    for _ in range(DRAWS):
        source.model.set_weights([_neighbours(it, draws) for it in weights])
        found = inference.original_scores(source, pixels)
        most = max(most, float(np.abs(found - expected).max()))
    return most


def _neighbours(weight: NDArray[np.float32], draws: np.random.Generator) -> NDArray[np.float32]:
    """The next number to each, above or below."""
    towards = np.where(draws.random(weight.shape) < 0.5, np.float32(-np.inf), np.float32(np.inf))
    return np.nextafter(weight, towards)


def _rows() -> dict[str, list[str]]:
    """The rows that the page has, by their first column."""
    table = re.split("<!-- (?:table|end) -->\n", PAGE.read_text())[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    return {row[0]: row for row in rows}


def _write(row: list[str]) -> None:
    """Put a row into the table, in the place of an older one."""
    print(*row, sep=" | ", flush=True)  # noqa: T201 - what a person waits for
    rows = _rows() | {row[0]: row}
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *(rows[key] for key in sorted(rows))]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    before, _, after = re.split("<!-- (?:table|end) -->\n", PAGE.read_text())
    PAGE.write_text(f"{before}<!-- table -->\n{table}<!-- end -->\n{after}")


if __name__ == "__main__":
    main(sys.argv[1:])
