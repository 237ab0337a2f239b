"""The localizer as one ONNX graph: the classifier, its maps of the best classes, their boxes.

tf2onnx converts what Keras knows; what follows, from class to box, is written here in ONNX's own
textual form. A region is found by labels that spread: each cell begins with its own number, and
takes the highest among its eight neighbours until none changes, however the region winds.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

from crossrun_export import convert
from crossrun_export.backend import tensorflow as tf
from crossrun_export.graph import Array
from crossrun_export.localize.network import ZOOM, Floats, Localizer, Look
from crossrun_export.options import InputDtype
from crossrun_export.sources import Source

HEAT = 56  # rows and columns of a heat map: four pixels of MobileNet's 224

# Class scores to the best classes and the weights that speak for them.
CHOICE = """
g (float[batch, classes] probabilities) => (float[batch, k] detection_scores) {
    detection_scores, detection_classes = TopK (probabilities, top_k)
    chosen = Gather (class_weights, detection_classes)
    rows = Shape <start = 0, end = 1> (probabilities)
    num_detections = Expand (count, rows)
}
"""

# The features of one look to how much each cell speaks for each chosen class, spread over the
# picture between the middles of the cells.
MAP = """
g (float[batch, channels, h, w] LOOK) => (float[batch, k, heat, heat] LOOK_map) {
    LOOK_cells = Reshape (LOOK, LOOK_flat)
    LOOK_products = MatMul (chosen, LOOK_cells)
    LOOK_grid = Reshape (LOOK_products, LOOK_square)
    LOOK_tall = MatMul (LOOK_rows, LOOK_grid)
    LOOK_map = MatMul (LOOK_tall, LOOK_columns)
}
"""

# What speaks for a class to its heat map, 0 to 1, and the box of its largest region.
REGIONS = """
g (float[batch, k, heat, heat] evidence) => (float[batch, k, 4] detection_boxes) {
    lowest = ReduceMin <axes = [2, 3]> (evidence)
    highest = ReduceMax <axes = [2, 3]> (evidence)
    range = Sub (highest, lowest)
    divisor = Max (range, least_range)
    above = Sub (evidence, lowest)
    heat_maps = Div (above, divisor)

    maps = Reshape (heat_maps, apart)
    is_hot = GreaterOrEqual (maps, threshold)
    hot = Cast <to = 1> (is_hot)
    seeds = Mul (hot, numbers)
    labels = Loop (most_steps, true, seeds) <body = spread
        (int64 step, bool going, float[n, 1, heat, heat] before)
        => (bool changed, float[n, 1, heat, heat] after) {
            reached = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (before)
            after = Mul (reached, hot)
            gain = Sub (after, before)
            most = ReduceMax <keepdims = 0> (gain)
            changed = Greater (most, zero)
        }>

    whole_labels = Cast <to = 7> (labels)
    flat_labels = Flatten (whole_labels)
    flat_hot = Flatten (hot)
    maps_count = Shape <start = 0, end = 1> (flat_hot)
    areas_shape = Concat <axis = 0> (maps_count, labels_count)
    no_areas = ConstantOfShape (areas_shape)
    areas = ScatterElements <axis = 1, reduction = "add"> (no_areas, flat_labels, flat_hot)
    largest = ArgMax <axis = 1> (areas)
    is_region = Equal (flat_labels, largest)
    flat_region = Cast <to = 1> (is_region)
    region = Reshape (flat_region, square)

    in_rows = ReduceMax <axes = [2], keepdims = 0> (region)
    in_columns = ReduceMax <axes = [1], keepdims = 0> (region)
    top = ArgMax <axis = 1> (in_rows)
    left = ArgMax <axis = 1> (in_columns)
    last_row = ArgMax <axis = 1, select_last_index = 1> (in_rows)
    last_column = ArgMax <axis = 1, select_last_index = 1> (in_columns)
    bottom = Add (last_row, one)
    right = Add (last_column, one)
    corners = Concat <axis = 1> (top, left, bottom, right)
    cells = Cast <to = 1> (corners)
    shares = Div (cells, heat)
    detection_boxes = Reshape (shares, boxes_shape)
}
"""


def to_onnx(source: Source, parts: Localizer, input_dtype: InputDtype) -> onnx.ModelProto:
    """Convert a localizer.

    Returns:
        A model from `image`, as the classifier's, to `probabilities` FP32 [batch, classes];
        `detection_boxes` FP32 [batch, k, 4], ymin xmin ymax xmax, 0 to 1; `detection_scores` FP32
        and `detection_classes` INT64 [batch, k], the best first; `num_detections` INT32 [batch],
        always k; `heat_maps` FP32 [batch, k, HEAT, HEAT], 0 to 1.

    Raises:
        ExportError: tf2onnx cannot convert it.
    """

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        height, width = source.size
        features = parts.plain.network(image, training=False)
        own = features[:, :: parts.rate, :: parts.rate]
        outputs = {convert.OUTPUT: parts.classify(own, training=False), "plain": features}
        if parts.zoomed:
            enlarged = tf.image.resize(image, (ZOOM * height, ZOOM * width))
            outputs["zoomed"] = parts.zoomed.network(enlarged, training=False)
        return {
            name: tf.transpose(value, (0, 3, 1, 2)) if value.shape.rank == 4 else value
            for name, value in outputs.items()
        }

    model = convert.convert(source, input_dtype, answer)
    _append(model, source, parts)
    onnx.checker.check_model(model, full_check=True)
    return model


def _append(model: onnx.ModelProto, source: Source, parts: Localizer) -> None:
    """Append what follows the features to a model that computes them."""
    looks = {"plain": parts.plain} | ({"zoomed": parts.zoomed} if parts.zoomed else {})
    maps = [f"{name}_map" for name in looks]
    texts = [CHOICE, *(MAP.replace("LOOK", name) for name in looks)]
    nodes = [node for text in texts for node in parser.parse_graph(text).node]
    nodes.append(helper.make_node("Sum", maps, ["evidence"]))
    nodes += parser.parse_graph(REGIONS).node
    constants = _constants(parts) | {
        name: value for key, look in looks.items() for name, value in _of_look(key, look)
    }
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in constants.items())
    del model.graph.output[:]
    model.graph.output.extend(_outputs(source.classes, parts.asked.top_k))


def _constants(parts: Localizer) -> dict[str, Array]:
    k, cells = parts.asked.top_k, HEAT * HEAT
    return {
        "class_weights": parts.weights,
        "top_k": np.array([k]),
        "count": np.array([k], np.int32),
        "least_range": np.array(np.finfo(np.float32).tiny),
        "threshold": np.array(parts.asked.threshold, np.float32),
        "numbers": np.arange(1, cells + 1, dtype=np.float32).reshape(1, 1, HEAT, HEAT),
        "most_steps": np.array(cells),
        "true": np.array(True),
        "zero": np.array(0, np.float32),
        "one": np.array(1),
        "heat": np.array(HEAT, np.float32),
        "labels_count": np.array([cells + 1]),
        "apart": np.array([-1, 1, HEAT, HEAT]),
        "square": np.array([-1, HEAT, HEAT]),
        "boxes_shape": np.array([-1, k, 4]),
    }


def _of_look(name: str, look: Look) -> Iterator[tuple[str, Array]]:
    """The constants that spread a look's cells over the picture."""
    _, height, width, channels = look.network.output_shape
    yield f"{name}_flat", np.array([0, channels, height * width])
    yield f"{name}_square", np.array([0, 0, height, width])
    yield f"{name}_rows", _spread(look.rows)
    yield f"{name}_columns", _spread(look.columns).T.copy()


def _spread(middles: Floats) -> Floats:
    """Linear interpolation as a matrix [HEAT, cells]; beyond the outermost middles, their value."""
    wanted = (np.arange(HEAT) + 0.5) / HEAT
    cells = np.eye(len(middles))
    return np.stack([np.interp(wanted, middles, one) for one in cells], 1).astype(np.float32)


def _outputs(classes: int, k: int) -> list[onnx.ValueInfoProto]:
    shapes = {
        convert.OUTPUT: (TensorProto.FLOAT, [classes]),
        "detection_boxes": (TensorProto.FLOAT, [k, 4]),
        "detection_scores": (TensorProto.FLOAT, [k]),
        "detection_classes": (TensorProto.INT64, [k]),
        "num_detections": (TensorProto.INT32, []),
        "heat_maps": (TensorProto.FLOAT, [k, HEAT, HEAT]),
    }
    return [
        helper.make_tensor_value_info(name, kind, ["batch", *shape])
        for name, (kind, shape) in shapes.items()
    ]
