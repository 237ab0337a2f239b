"""Datatypes of the Open Inference Protocol, and what a model says of its inputs and outputs.

numpy has no BF16: its 16 bits are carried in uint16. Knows no gRPC and no onnxruntime.
Source: https://github.com/kserve/open-inference-protocol (required API, tensor data).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),
    "BYTES": np.dtype(np.object_),
}


@dataclass(frozen=True)
class TensorSpec:
    """What a model says of one input or output; -1 in `shape` stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False  # the model has a default value for it
    symbol: str = ""  # the name of the first size in the model's file, if that size is free
    scalar: bool = False  # has no dimension in the graph, whatever `shape` says to callers

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape fits; a single value may be [] or [1]."""
        if self.scalar or not self.shape:
            return all(size == 1 for size in shape)
        return len(shape) == len(self.shape) and all(
            want in (-1, have) for want, have in zip(self.shape, shape, strict=True)
        )
