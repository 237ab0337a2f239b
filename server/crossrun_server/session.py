"""One onnxruntime session: load, describe, run. Knows nothing of requests, batches or the wire."""

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from crossrun_server import providers
from crossrun_server.errors import LoadError
from crossrun_server.tensors import DTYPES, Array, TensorSpec

# onnxruntime's name of an element type → the Open Inference Protocol's.
DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}
BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class Session:
    """A loaded ONNX file on one execution provider.

    Raises:
        LoadError: the file or the provider cannot be used.
    """

    def __init__(self, path: Path, provider: str) -> None:
        try:
            self._session = onnxruntime.InferenceSession(
                path, _options(), providers=[providers.resolve(provider)]
            )
        except LoadError:
            raise
        except Exception as error:  # onnxruntime raises a class of its own per status code
            raise LoadError(f"onnxruntime cannot load {path.name}: {_one_line(error)}") from error
        providers.require(self._session, providers.resolve(provider))
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.providers: list[str] = self._session.get_providers()
        self._run = self._run_bf16 if "BF16" in self._datatypes() else self._run_numpy

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Compute the named outputs, each in the dtype and shape that the model gives it."""
        return dict(zip(outputs, self._run(inputs, outputs), strict=True))

    def _datatypes(self) -> set[str]:
        return {spec.datatype for spec in (*self.inputs, *self.outputs)}

    def _run_numpy(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        arrays: list[Array] = self._session.run(list(outputs), dict(inputs))
        return arrays

    def _run_bf16(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Run through OrtValues, the only road on which onnxruntime's Python takes BF16."""
        bf16 = {spec.name for spec in self.inputs if spec.datatype == "BF16"}
        feeds = {name: _ort_value(array, name in bf16) for name, array in inputs.items()}
        return [_array(value) for value in self._session.run_with_ort_values(outputs, feeds)]


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    if hasattr(os, "sched_getaffinity"):  # elsewhere onnxruntime counts the cores itself
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3  # errors: what it warns of, providers.require refuses
    return options


def _spec(node: onnxruntime.NodeArg) -> TensorSpec:
    if node.type not in DATATYPES:
        raise LoadError(f"{node.name!r} is a {node.type}, which cannot be served")
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return TensorSpec(node.name, DATATYPES[node.type], shape)


def _ort_value(array: Array, bf16: bool) -> onnxruntime.OrtValue:
    if bf16:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _array(value: onnxruntime.OrtValue) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(data, DTYPES["BF16"]).reshape(value.shape())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
