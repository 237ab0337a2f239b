"""Whether rows that share a run of an exported graph are independent: tried, never assumed.

The answer to a row may depend neither on its neighbours nor on how many they are. Kernels for
other batch sizes add up in another order, and a tiny change may decide which of two boxes comes
first: so against a row alone a few numbers may differ, against other neighbours none.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import runtime
from crossrun_export.errors import ExportError
from crossrun_export.runtime import Inputs, Outputs

Group = tuple[int, ...]  # rows that share a run, by their places
Given = Callable[[NDArray[np.uint8]], Inputs]  # pixels → what the graph takes

# Runs of three rows, by their places. Each of the first has a row where another has it too.
TOGETHER: tuple[Group, ...] = ((0, 1), (0, 2), (1, 0), (2, 0), (0, 0), (0, 1, 2), (2, 0, 1))
NEIGHBOURS = 1e-5  # of an output's largest value, between runs of as many rows
ALONE = 1e-3  # likewise, against a row alone
FEW = 0.1  # share of an output's numbers that may be further from those of a row alone


def tried(pixels: NDArray[np.uint8], given: Given) -> Inputs:
    """Three rows that differ: a picture, another or the same mirrored, and noise."""
    noise = np.random.default_rng(1).integers(0, 256, pixels[0].shape, np.uint8)
    return given(np.stack([pixels[0], pixels[-1][:, ::-1], noise]))


def mixed(model: onnx.ModelProto, rows: Inputs) -> str:
    """Why rows are not proven independent; empty if they are.

    Args:
        model: of one input, whose first axis and those of all outputs are declared free.
        rows: three that differ.

    Raises:
        ExportError: onnxruntime does not run the graph at all.
    """
    ask = runtime.asking(model)
    alone = [_alone(ask, rows[place : place + 1]) for place in range(len(rows))]
    try:
        together = {group: ask(rows[list(group)]) for group in TOGETHER}
    except Exception as error:  # noqa: BLE001 - onnxruntime raises many kinds
        return f"several do not run at once{_where(error)}"
    runs: dict[Group, Outputs] = {(place,): answer for place, answer in enumerate(alone)}
    runs |= together
    if rowless := [name for group, found in runs.items() for name in _rowless(group, found)]:
        return f"output {rowless[0]!r} has no row for each row of the input"
    if all(_is_alike([one[name] for one in alone]) for name in alone[0]):
        return "all that were tried have the same answer"
    return next(filter(None, (_wrong(group, runs) for group in together)), "")


def _alone(ask: Callable[[Inputs], Outputs], row: Inputs) -> Outputs:
    try:
        return ask(row)
    except Exception as error:  # onnxruntime raises many kinds
        raise ExportError(f"onnxruntime cannot run the graph{_where(error)}") from error


def _wrong(group: Group, runs: Mapping[Group, Outputs]) -> str:
    """What depends on more than the row itself in a run of several; empty if nothing does."""
    for name, values in runs[group].items():
        for place, row in enumerate(group):
            if _off(values[place], runs[row,][name][0], ALONE) > FEW:
                return f"output {name!r} of a row is another in a run of {len(group)} than alone"
            others = [its for its in runs if len(its) == len(group) and its[place] == row]
            if any(_off(values[place], runs[its][name][place], NEIGHBOURS) for its in others):
                return f"output {name!r} of a row depends on the others of its run"
    return ""


def _rowless(group: Group, found: Outputs) -> list[str]:
    return [name for name, values in found.items() if values.shape[:1] != (len(group),)]


def _off(one: Inputs, other: Inputs, share: float) -> float:
    """The share of numbers that differ by more than a share of the largest; 1 of other shapes."""
    if one.shape != other.shape:
        return 1.0
    apart = one != other
    if one.dtype.kind == "f" and one.size:
        gap = np.abs(one.astype(np.float64) - other)
        apart &= ~(gap <= share * np.abs(other).max())  # so that NaN counts
    return float(np.mean(apart)) if one.size else 0.0


def _is_alike(answers: Sequence[Inputs]) -> bool:
    first, *others = answers
    return all(np.array_equal(first, other) for other in others)


def _where(error: Exception) -> str:
    """The operation that fails: the message is a page long."""
    found = re.search(r"while running (\w+) node", str(error))
    return f", because of its {found[1]}" if found else f": {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
