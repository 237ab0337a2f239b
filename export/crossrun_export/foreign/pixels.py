"""Which pixels a model takes, told by what its graph does to them before its first weights.

As `preprocessing` finds it out of a Keras model, on the graph. A graph that does nothing to them
tells nothing.
"""

import numpy as np
import onnx

from crossrun_export import runtime
from crossrun_export.foreign.source import Picture
from crossrun_export.graph import Graph
from crossrun_export.preprocessing import affine, ranges
from crossrun_export.preprocessing.affine import Affine
from crossrun_export.scaling import CHOICES, Preprocessing, Scaling

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SIDE = 64  # pixels of a picture, where the model takes any


def told(model: onnx.ModelProto, picture: Picture) -> Preprocessing | None:
    """The only range of pixels that makes sense to a graph; None if none or several do.

    Args:
        model: of one input.
        picture: that input, of floats.
    """
    arrivals = _arrivals(Graph(model), picture.name)
    if not arrivals:
        return None
    try:
        lines = {key: _line(model, picture, CHOICES[key], arrivals) for key in ranges.RANGES}
    except Exception:  # noqa: BLE001 - onnxruntime raises many kinds, and a colour tells nothing
        return None
    known = {key: line for key, line in lines.items() if line}
    key = ranges.told(known)
    if key is None:
        return None
    made = ranges.usual(known[key]) or "what has a mean and a deviation of such numbers"
    return Preprocessing(CHOICES[key], f"its graph makes {made} of them before its first weights")


def _arrivals(graph: Graph, image: str) -> list[str]:
    """What reaches the first nodes with constant weights, on every way from the image."""
    reached, found = {image}, list[str]()
    for node in graph.nodes:
        ahead = [name for name in node.input if name in reached]
        if ahead and node.op_type in WEIGHTED and node.input[1] in graph:
            found += ahead
        elif ahead:
            reached.update(node.output)
    return list(dict.fromkeys(found))


def _line(
    model: onnx.ModelProto, picture: Picture, scaling: Scaling, arrivals: list[str]
) -> Affine | None:
    """The one straight line from colours, scaled, to all that arrives."""
    height, width = (side if side > 0 else SIDE for side in picture.size)
    colours = scaling.apply(affine.pictures(height, width)).astype(picture.dtype)
    if picture.axes == "NCHW":
        colours = colours.transpose(0, 3, 1, 2)
    parts = zip(*runtime.batches(model, np.ascontiguousarray(colours), arrivals), strict=True)
    lines = [affine.fit(np.concatenate(part)) for part in parts]
    first = lines[0]
    if first is None or not all(line and line.equals(first) for line in lines):
        return None
    return first
