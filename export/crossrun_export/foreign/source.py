"""A model of another runtime, and what has to be known to serve it.

Each runtime has a module that makes a `ForeignSource` of a file; whatever comes after it asks all
of them alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export.runtime import Outputs
from crossrun_export.scaling import Preprocessing

Runtime = Literal["tensorflow", "litert", "onnxruntime"]
Axes = Literal["NHWC", "NCHW"]
Computes = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class Picture:
    """The input that takes a picture, as the source has it."""

    name: str
    dtype: np.dtype[Any]
    axes: Axes
    batch: int  # -1: of any size
    size: tuple[int, int]  # height and width, pixels; -1: any


@dataclass(frozen=True)
class Output:
    """An output of the source; -1 is a dimension of any size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ForeignSource:
    """A model as it was found."""

    name: str  # of its file or folder
    runtime: Runtime  # which answers `ask`
    graph: onnx.ModelProto  # the same model as ONNX: its input is `picture`, its outputs `outputs`
    picture: Picture
    outputs: tuple[Output, ...]
    ask: Callable[[NDArray[Any]], Outputs]  # runs the source itself on what `picture` takes
    labels: tuple[str, ...]  # empty where none are known
    sha256: str
    save: Callable[[Path], None]  # puts the source, as it is, into a folder
    file: str  # what `save` makes in it: a file or a folder
    signature: str | None = None  # which function of several, where a file has such
    pixels: Preprocessing | None = None  # what the model itself says of those it takes
    computes: Computes = "float32"  # int8: its layers are quantized already
