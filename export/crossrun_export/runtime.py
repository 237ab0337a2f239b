"""Runs ONNX models on the CPU, in batches. Knows no Keras and no picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from crossrun_export.graph import part

Scores = NDArray[np.float32]
Inputs = NDArray[Any]
Outputs = dict[str, NDArray[Any]]  # by name

BATCH = 8


def batches(
    model: onnx.ModelProto,
    inputs: Inputs,
    outputs: Sequence[str] | None = None,
    also: Mapping[str, Inputs] = MappingProxyType({}),
) -> Iterator[list[Scores]]:
    """Run a model of one input on `inputs`, whose first axis is the batch's, a few at a time.

    A model that takes one row at once is run row by row. Each run returns the outputs named, which
    may lie inside the graph, or all that the model has. Each run also takes `also`, by name: inputs
    that have default values.
    """
    session = _session(model if outputs is None else part(model, outputs))
    (node,) = session.get_inputs()
    for start in range(0, len(inputs), rows := at_once(model)):
        yield session.run(outputs, {node.name: inputs[start : start + rows], **also})


def at_once(model: onnx.ModelProto) -> int:
    """How many rows of inputs a run gets: BATCH, or as many as the model's first axis fixes."""
    return model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or BATCH


def asking(model: onnx.ModelProto) -> Callable[[Inputs], Outputs]:
    """What runs a model of one input at once on all that it is given; says nothing of failures."""
    session = _session(model, log_severity=4)
    (node,), names = session.get_inputs(), [value.name for value in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, {node.name: inputs}), strict=True))


def onward(
    model: onnx.ModelProto, known: Sequence[Outputs], wanted: Sequence[str]
) -> Iterator[list[Inputs]]:
    """Run the part of a model from tensors that are known, batch by batch, to some others."""
    session = _session(part(model, wanted, map(_value, known[0].keys(), known[0].values())))
    names = [node.name for node in session.get_inputs()]
    for batch in known:
        yield session.run(wanted, {name: batch[name] for name in names})


def _value(name: str, array: Inputs) -> onnx.ValueInfoProto:
    """What a graph says of an input of any number of rows like these."""
    dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, dtype, [None, *array.shape[1:]])


def scores(model: onnx.ModelProto, inputs: Inputs) -> Scores:
    """Run a model of one output."""
    return np.concatenate([found for (found,) in batches(model, inputs)])


def outputs(
    model: onnx.ModelProto, inputs: Inputs, also: Mapping[str, Inputs] = MappingProxyType({})
) -> Outputs:
    """Run a model of any number of outputs; returns them by name."""
    parts = zip(*batches(model, inputs, also=also), strict=True)
    names = [value.name for value in model.graph.output]
    return {name: np.concatenate(part) for name, part in zip(names, parts, strict=True)}


def _session(model: onnx.ModelProto, log_severity: int = 3) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = log_severity
    # Without it int8 saturates on x86 processors that lack VNNI, and answers are wrong. On others
    # it costs half the speed, which does not matter here.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # Threads that wait sleep, so that others have the cores meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
