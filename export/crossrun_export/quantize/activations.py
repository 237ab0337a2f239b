"""Ranges of the tensors inside a model, by several methods of calibration: onnxruntime's.

Entropy calibration is not among them: it cuts into the ranges of ReLU6, and MobileNet 1.0/224
agreed with the original on 85 % of 136 photographs instead of 98 %. Ranges are per tensor; what
lies outside of one saturates.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

from crossrun_export import runtime
from crossrun_export.runtime import Inputs

# The percentile of values that counts; None counts every value.
METHODS: dict[str, float | None] = {
    "min-max": None,
    "percentile 99.999": 99.999,
    "percentile 99.99": 99.99,
}

Ranges = dict[str, tuple[np.float32, np.float32]]  # lowest and highest value, by tensor


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches of inputs, as onnxruntime's calibration reads them."""

    def __init__(self, name: str, inputs: Inputs, rows: int) -> None:
        starts = range(0, len(inputs), rows)
        self._feeds: Iterator[dict[str, Inputs]] = iter(
            [{name: inputs[start : start + rows]} for start in starts]
        )

    def get_next(self) -> dict[str, Inputs] | None:
        """The next batch by the name of its input; None after the last."""
        return next(self._feeds, None)


def ranges(model: onnx.ModelProto, inputs: Inputs) -> dict[str, Ranges]:
    """Run the inputs, and give each float tensor's lowest and highest value that counts, by method.

    Args:
        model: of one float input.
        inputs: what it takes, the first axis being the batch's.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        histograms = _collected(model, inputs, Path(folder))
        return {method: _counting(histograms, METHODS[method]) for method in METHODS}


def _collected(model: onnx.ModelProto, inputs: Inputs, folder: Path) -> Any:
    """onnxruntime's histograms of all tensors, which serve every method."""
    file = folder / "model.onnx"
    onnx.save(model, file)
    calibrator = create_calibrator(
        file,
        None,
        str(folder / "augmented.onnx"),
        CalibrationMethod.Percentile,
        extra_options={"symmetric": False},
    )
    # Batch by batch: the calibrator keeps every tensor of what it is given at once.
    for start in range(0, len(inputs), rows := runtime.at_once(model)):
        batch = inputs[start : start + rows]
        calibrator.collect_data(Reader(model.graph.input[0].name, batch, rows))
    return calibrator.collector


def _counting(histograms: Any, percentile: float | None) -> Ranges:
    if percentile is None:
        found = {name: seen[2:4] for name, seen in histograms.histogram_dict.items()}
    else:
        histograms.percentile = percentile
        found = histograms.compute_collection_result()
    return {name: _with_zero(low, high) for name, (low, high, *_) in found.items()}


def _with_zero(low: Any, high: Any) -> tuple[np.float32, np.float32]:
    """A range has to hold zero, which padding puts in."""
    return np.minimum(np.float32(np.min(low)), 0), np.maximum(np.float32(np.max(high)), 0)
