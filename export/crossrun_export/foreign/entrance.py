"""The way of a picture into a model of another runtime: as it is served, and as the source has it.

The served graph takes `image`, RGB [batch, height, width, 3]. What scales, turns and orders pixels
for the source is part of it. Knows no classes and no boxes.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from crossrun_export.convert import INPUT
from crossrun_export.errors import ExportError
from crossrun_export.foreign import pixels, rows
from crossrun_export.foreign.source import ForeignSource, Picture
from crossrun_export.options import InputDtype
from crossrun_export.runtime import Inputs, Outputs
from crossrun_export.scaling import CHOICES, EXPECTED, Preprocessing, Scaling, parse

Pixels = NDArray[np.uint8]

PREFIX = "entrance_"
AS_THEY_ARE = CHOICES["0..255"]


def preprocessing(source: ForeignSource, asked: str | None) -> Preprocessing:
    """What a source takes of pixels: as --pixels, its file or its graph says; bytes, as they are.

    Raises:
        ExportError: nothing tells it, or bytes are to be scaled.
    """
    picture, wanted = source.picture, parse(asked) if asked else None
    if picture.dtype == np.uint8:
        if wanted and (wanted.scale, wanted.offset) != (AS_THEY_ARE.scale, AS_THEY_ARE.offset):
            raise ExportError(
                f"--pixels {asked}: input {picture.name!r} takes uint8, which are pixels 0..255; "
                "leave --pixels out"
            )
        return Preprocessing(wanted or AS_THEY_ARE, "its input is uint8")
    told = source.pixels or pixels.told(source.graph, picture)
    if wanted is None and told is None:
        raise ExportError(
            f"input {picture.name!r} takes {picture.dtype.name}, and nothing tells which range; "
            f"say it by --pixels: {EXPECTED}"
        )
    if told and (wanted is None or replace(wanted, name=told.scaling.name) == told.scaling):
        return told
    assert wanted is not None
    contrary = f", though {told.scaling.name} is expected: {told.because}" if told else ""
    return Preprocessing(wanted, f"asked for{contrary}")


def served(
    source: ForeignSource,
    scaling: Scaling,
    input_dtype: InputDtype,
    examples: Pixels,
    say: Callable[[str], None] = lambda _: None,
) -> onnx.ModelProto:
    """Put the served entrance before a source's graph.

    Args:
        source: of one picture at a time, or of any number.
        scaling: what the source takes of pixels.
        input_dtype: "uint8" takes pixels 0 … 255 and scales them in the graph; "float32" takes
            what the source takes, channel order included.
        examples: pictures that the source can answer, [count, height, width, 3]; with some of
            them it is tried whether rows are independent.
        say: is told why pictures are run one by one, if they are.

    Returns:
        A model from `image` [batch, height, width, 3] to the source's outputs by their names. The
        batch is of any size if rows are proven independent, else 1.

    Raises:
        ExportError: the source takes several pictures at once, or no float32.
    """
    picture = source.picture
    if picture.batch not in (-1, 1):
        raise ExportError(
            f"input {picture.name!r} takes {picture.batch} pictures at once; "
            "expected one, or any number"
        )
    if input_dtype == "float32" and picture.dtype == np.uint8:
        raise ExportError(f"--input-dtype float32: input {picture.name!r} takes uint8")
    model = _with_entrance(source, scaling, input_dtype)
    _set_batch(model, "batch")
    if why := rows.mixed(model, rows.tried(examples, given(scaling, input_dtype))):
        say(f"one picture at a time: {why}")
        _set_batch(model, 1)
    return model


def batch_of(model: onnx.ModelProto) -> int:
    """How many pictures a served graph takes at once; -1 is any number."""
    (image,) = [value for value in model.graph.input if value.name == INPUT]
    return image.type.tensor_type.shape.dim[0].dim_value or -1


def inputs_of(source: ForeignSource, pictures: Pixels, scaling: Scaling) -> Inputs:
    """Pictures, uint8 RGB [count, height, width, 3], as the source itself takes them."""
    picture = source.picture
    if picture.dtype == np.uint8:
        ordered = pictures[..., ::-1] if scaling.color == "BGR" else pictures
    else:
        ordered = scaling.apply(pictures).astype(picture.dtype)
    return ordered.transpose(0, 3, 1, 2) if picture.axes == "NCHW" else ordered


def each_answer(source: ForeignSource, pictures: Pixels, scaling: Scaling) -> Iterator[Outputs]:
    """What the source answers to each picture, asked alone.

    So whatever a graph answers to several pictures at once is held against answers to one.
    """
    for place in range(len(pictures)):
        yield source.ask(inputs_of(source, pictures[place : place + 1], scaling))


def answers(source: ForeignSource, pictures: Pixels, scaling: Scaling) -> Outputs:
    """The same, joined: outputs whose first axis is the batch's, by name."""
    found = list(each_answer(source, pictures, scaling))
    return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def given(scaling: Scaling, input_dtype: InputDtype) -> rows.Given:
    """What makes of pixels what a served graph takes."""
    return (lambda pictures: pictures) if input_dtype == "uint8" else scaling.apply


def _with_entrance(
    source: ForeignSource, scaling: Scaling, input_dtype: InputDtype
) -> onnx.ModelProto:
    model, picture = onnx.ModelProto(), source.picture
    model.CopyFrom(source.graph)
    _rename(model.graph, INPUT, f"{PREFIX}inner_{INPUT}")
    inner = f"{PREFIX}inner_{INPUT}" if picture.name == INPUT else picture.name
    nodes, constants = _entrance(picture, scaling, input_dtype, inner)
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    model.graph.initializer.extend(constants)
    (old,) = [value for value in model.graph.input if value.name == inner]
    model.graph.input.remove(old)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(input_dtype))
    height, width = picture.size
    shape = ["batch", height if height > 0 else "height", width if width > 0 else "width", 3]
    model.graph.input.insert(0, helper.make_tensor_value_info(INPUT, kind, shape))
    return model


def _entrance(
    picture: Picture, scaling: Scaling, input_dtype: InputDtype, last: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes from `image` to the source's input, and their constants."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def add(kind: str, *values: NDArray[Any], **attributes: Any) -> None:
        names = [f"{PREFIX}{len(nodes)}_{place}" for place in range(len(values))]
        constants.extend(map(numpy_helper.from_array, values, names))
        before = nodes[-1].output[0] if nodes else INPUT
        after = f"{PREFIX}{len(nodes)}"
        nodes.append(helper.make_node(kind, [before, *names], [after], **attributes))

    if input_dtype == "uint8":
        if scaling.color == "BGR":
            add("Gather", np.array([2, 1, 0]), axis=3)
        if picture.dtype != np.uint8:
            scale, offset = (np.array(numbers, np.float32) for numbers in scaling.shortest)
            add("Cast", to=onnx.TensorProto.FLOAT)
            add("Mul", scale)
            add("Add", offset)
    if picture.dtype not in (np.uint8, np.float32):
        add("Cast", to=helper.np_dtype_to_tensor_dtype(picture.dtype))
    if picture.axes == "NCHW":
        add("Transpose", perm=[0, 3, 1, 2])
    if not nodes:
        add("Identity")
    nodes[-1].output[0] = last
    return nodes, constants


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor wherever it is named, in graphs inside nodes as well."""
    named: list[onnx.ValueInfoProto | onnx.TensorProto] = [*graph.input, *graph.output]
    for value in (*named, *graph.initializer, *graph.value_info):
        if value.name == old:
            value.name = new
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename(inner, old, new)


def _set_batch(model: onnx.ModelProto, batch: str | int) -> None:
    """Declare the first axis of the image and of all outputs; what was known inside is dropped."""
    del model.graph.value_info[:]
    for value in (model.graph.input[0], *model.graph.output):
        if value.type.tensor_type.shape.dim:
            first = value.type.tensor_type.shape.dim[0]
            first.Clear()
            if isinstance(batch, str):
                first.dim_param = batch
            else:
                first.dim_value = batch
