"""ONNX files from elsewhere: adopted as they are, and asked by onnxruntime.

Knows how a graph becomes a source; what a file says of itself is read in `onnx_metadata`.
"""

import hashlib
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, version_converter

from crossrun_export import runtime
from crossrun_export.convert import MOST_WORDS, OPSET
from crossrun_export.errors import ExportError
from crossrun_export.foreign import onnx_metadata, picture_input, steps
from crossrun_export.foreign.picture_input import ANY
from crossrun_export.foreign.source import ForeignSource, Output
from crossrun_export.options import Computes
from crossrun_export.runtime import Inputs, Outputs

FILE = "source.onnx"  # beside the exported model
OLDEST = 7  # opset: before it operators broadcast in other ways, which is converted wrongly
# A graph with one of these holds whole numbers that stand for real ones.
QUANTIZED = {"DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}


def load(path: Path) -> ForeignSource:
    """Read an ONNX file, with its external data.

    Raises:
        ExportError: it is no such file, onnxruntime cannot run it, it takes no pictures, or its
            operators are too old.
    """
    model = _read(path)
    _drop_defaults(model.graph)
    steps.unshare(model)
    data = _bytes(model, path)
    inputs = {value.name: (_shape(value), _dtype(value, path)) for value in model.graph.input}
    picture = picture_input.find(inputs, path)
    about = {one.key: one.value for one in model.metadata_props}
    return ForeignSource(
        name=path.stem,
        runtime="onnxruntime",
        graph=_modern(model, path),
        picture=picture,
        outputs=tuple(
            Output(value.name, _dtype(value, path), _shape(value) or ())
            for value in model.graph.output
        ),
        ask=_asking(model, path),
        labels=onnx_metadata.labels(about),
        sha256=hashlib.sha256(data).hexdigest(),
        save=lambda folder: _write(data, folder),
        file=FILE,
        pixels=onnx_metadata.pixels(about),
        computes=_computes(model),
    )


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise ExportError(f"{path} is not a file; expected a model, .onnx")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and onnx raise many kinds
        raise ExportError(f"{path} is no ONNX model: {_shortened(error)}") from error
    return model


def _asking(model: onnx.ModelProto, path: Path) -> Callable[[Inputs], Outputs]:
    try:
        return runtime.asking(model)
    except Exception as error:  # onnxruntime raises many kinds
        raise ExportError(f"onnxruntime cannot run {path}: {_shortened(error)}") from error


def _bytes(model: onnx.ModelProto, path: Path) -> bytes:
    """The model in one piece: the file as it is, unless data of it lie elsewhere."""
    there = onnx.load(path, load_external_data=False)
    if not any(map(onnx.external_data_helper.uses_external_data, there.graph.initializer)):
        return path.read_bytes()
    try:
        return bytes(model.SerializeToString())
    except ValueError as error:
        raise ExportError(f"{path} has over 2 GiB of weights, which cannot be exported") from error


def _drop_defaults(graph: onnx.GraphProto) -> None:
    """Make constants of inputs that have a value, as all weights were in ONNX's first files."""
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(kept)


def _dtype(value: onnx.ValueInfoProto, path: Path) -> np.dtype[Any]:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value")
        raise ExportError(f"{path}: {value.name} is a {kind}; expected tensors in and out")
    return helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """None where not even the number of dimensions is known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.dim_value > 0 else ANY for dim in tensor.shape.dim)


def _modern(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The same graph, in operators that an exported model is made of, or in newer ones."""
    (opset,) = [it.version for it in model.opset_import if it.domain in ("", "ai.onnx")] or [0]
    if opset >= OPSET:
        return model
    try:
        if opset < OLDEST:
            raise ValueError(f"expected {OLDEST} or later")
        modern = version_converter.convert_version(model, OPSET)
        onnx.checker.check_model(modern, full_check=True)
    except Exception as error:  # the converter raises many kinds
        raise ExportError(
            f"{path} has operators of opset {opset}, which cannot be brought to {OPSET} "
            f"({_shortened(error)}); export it again, in opset {OPSET} or later"
        ) from error
    return modern


def _computes(model: onnx.ModelProto) -> Computes:
    if not QUANTIZED.isdisjoint(node.op_type for node in model.graph.node):
        return "int8"
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    return "float16" if onnx.TensorProto.FLOAT16 in kinds else "float32"


def _write(data: bytes, folder: Path) -> None:
    (folder / FILE).write_bytes(data)


def _shortened(error: Exception) -> str:
    return textwrap.shorten(str(error), MOST_WORDS)
