"""Makes the served graph of a detector: its source, the decoding of its outputs, and the best."""

from collections.abc import Iterable
from itertools import chain

import onnx
from onnx import version_converter

from crossrun_export.convert import OPSET
from crossrun_export.detector import suppress
from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts import best, decode
from crossrun_export.foreign.layouts.layout import Layout
from crossrun_export.graph import opset

SOURCE = "source/"  # before all names of the source's graph, which may be those of ours
IR = 8  # the oldest version of the format in which constants are no inputs, and loops are as here


def append(graph: onnx.ModelProto, layout: Layout, thresholds: Thresholds) -> onnx.ModelProto:
    """Put what a detector finds in the place of its outputs.

    Args:
        graph: to the source's outputs, all of which are replaced.
        layout: of these outputs.
        thresholds: of requests that name none.

    Returns:
        A model with the outputs and optional inputs of `suppress.append`. Where nothing overlaps
        (`Layout.overlaps`) there is no `iou_threshold`. A detection whose class has no label gets
        the line after the last. NaN in a detection stays NaN.

    Raises:
        ExportError: the graph's opset is too old to be brought to a newer one, or its outputs have
            no dimension for a batch that its input has.
    """
    model = _source(graph, layout)
    io_map = [(f"{SOURCE}{name}", part) for part, name in layout.outputs.items()]
    decoded = onnx.compose.merge_models(model, decode.decoding(model, layout), io_map=io_map)
    return (
        suppress.append(decoded, thresholds)
        if layout.overlaps
        else best.append(decoded, thresholds)
    )


def _source(graph: onnx.ModelProto, layout: Layout) -> onnx.ModelProto:
    """The source's graph with names that are not ours, and the outputs of the layout."""
    rows = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    if not layout.batched and rows != 1:
        raise ExportError(
            "the outputs have no dimension for the batch, and the input takes any number of "
            "pictures; expected one picture at a time"
        )
    model = _renewed(graph)
    model.ir_version = max(model.ir_version, IR)
    _rename(model.graph, frozenset(value.name for value in model.graph.input))
    outputs = {value.name: value for value in model.graph.output}
    del model.graph.output[:]
    model.graph.output.extend(outputs[f"{SOURCE}{name}"] for name in layout.outputs.values())
    return model


def _rename(graph: onnx.GraphProto, kept: frozenset[str]) -> None:
    """Put SOURCE before all names but some, in what the nodes hold as well.

    onnx.compose.add_prefix forgets constants that a loop takes from around it.
    """

    def renamed(names: Iterable[str]) -> list[str]:
        return [name if name in kept or not name else f"{SOURCE}{name}" for name in names]

    for node in graph.node:
        node.input[:], node.output[:] = renamed(node.input), renamed(node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, kept)
    for value in chain(graph.input, graph.output, graph.value_info):
        (value.name,) = renamed([value.name])
    for tensor in chain(graph.initializer, (one.values for one in graph.sparse_initializer)):
        (tensor.name,) = renamed([tensor.name])


def _renewed(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in an opset whose operators mean what this module's text means by them."""
    if opset(graph) >= decode.OLDEST:
        return graph
    try:
        return version_converter.convert_version(graph, OPSET)
    except Exception as error:
        raise ExportError(
            f"the graph has opset {opset(graph)}, and bringing it to {OPSET} failed: {error}"
        ) from error
