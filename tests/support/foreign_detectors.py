"""The finder of coloured rectangles, as detectors of other kinds would return what it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from onnx import compose, parser

from tests.support import detectors, models

CLASSES = len(detectors.LABELS)

# What the finder returns, in forms that several layouts share. Sides are those of its input.
SHARED = """
    pixels = Mul (boxes, size)
    x_first = Gather <axis: int = -1> (pixels, swapped)
    share_x_first = Gather <axis: int = -1> (boxes, swapped)
    low = Slice (pixels, at_0, at_2, at_last)
    high = Slice (pixels, at_2, at_4, at_last)
    both = Add (low, high)
    centre = Mul (both, half)
    side = Sub (high, low)
    centre_x = Gather <axis: int = -1> (centre, swapped_pair)
    side_x = Gather <axis: int = -1> (side, swapped_pair)
    centred = Concat <axis: int = -1> (centre_x, side_x)
    centred_shares = Div (centred, size_x_first)
    float_classes = Cast <to: int = 1> (classes)
    score = Unsqueeze (scores, at_last)
    number = Unsqueeze (float_classes, at_last)
    chosen = OneHot <axis: int = -1> (classes, three, off_on)
    each = Mul (chosen, score)
    moved = Add (centred, by_a_little)
    moved_shares = Div (moved, size_x_first)
    less = Mul (each, nearly)
    dense = Concat <axis: int = 1> (centred, moved, centred)
    dense_shares = Concat <axis: int = 1> (centred_shares, moved_shares, centred_shares)
    dense_corners = Concat <axis: int = 1> (x_first, x_first, x_first)
    dense_each = Concat <axis: int = 1> (each, less, less)
    known = Clip (each, least, most)
    empty = Sub (one, score)
    some_empty = Clip (empty, least, most)
    log_each = Log (known)
    log_empty = Log (some_empty)
    rest = Sub (one, known)
    log_rest = Log (rest)
    odds = Sub (log_each, log_rest)
"""
CONSTANTS = """
<int64[2] swapped_pair = {1, 0}, int64[4] swapped = {1, 0, 3, 2}, int64[1] at_0 = {0},
    int64[1] at_2 = {2}, int64[1] at_4 = {4}, int64[1] at_last = {-1}, int64[1] three = {3},
    float[2] off_on = {0.0, 1.0}, float half = {0.5}, float one = {1.0}, float nearly = {0.9},
    float least = {0.000001}, float most = {0.999999}, float[4] size = {48.0, 64.0, 48.0, 64.0},
    float[4] size_x_first = {64.0, 48.0, 64.0, 48.0}, float[4] by_a_little = {0.25, 0.0, 0.0, 0.0}>
"""


@dataclass(frozen=True)
class Foreign:
    """A detector that finds what the finder finds, in a layout of its own."""

    outputs: Mapping[str, Sequence[int]]  # name → shape for each picture; -1 is any size
    text: str  # makes them of SHARED
    config: Mapping[str, str]  # what config.pbtxt has to say
    labelled: str  # the output that has the labels
    types: Mapping[str, str] = field(default_factory=dict)  # of outputs that are not float32


FOUR = {"detection_boxes": [3, 4], "detection_scores": [3], "detection_classes": [3]}
KINDS = {
    "tensorflow": Foreign(
        FOUR | {"num_detections": []},
        """
        detection_boxes = Identity (boxes)
        detection_scores = Identity (scores)
        detection_classes = Add (float_classes, one)
        num_detections = Cast <to: int = 1> (count)
        """,
        {"first_class": "1"},
        "detection_classes",
    ),
    "eight outputs": Foreign(
        FOUR
        | {"num_detections": [], "raw_detection_boxes": [9, 4], "raw_detection_scores": [9, 4]}
        | {"detection_multiclass_scores": [3, 4], "detection_anchor_indices": [3]},
        """
        detection_boxes = Identity (boxes)
        detection_scores = Identity (scores)
        detection_classes = Add (float_classes, one)
        num_detections = Cast <to: int = 1> (count)
        raw_detection_boxes = Identity (dense_shares)
        dense_score = ReduceMax <axes: ints = [-1]> (dense_each)
        dense_empty = Sub (one, dense_score)
        raw_detection_scores = Concat <axis: int = -1> (dense_empty, dense_each)
        detection_multiclass_scores = Concat <axis: int = -1> (empty, each)
        detection_anchor_indices = Identity (float_classes)
        """,
        {"first_class": "1"},
        "detection_classes",
    ),
    "apart": Foreign(
        {"what": [3], "how": [3], "where": [3, 4]},
        """
        where = Identity (x_first)
        how = Identity (scores)
        what = Identity (classes)
        """,
        {
            "layout": "apart",
            "boxes": "where",
            "scores": "how",
            "classes": "what",
            "box_order": "xyxy",
            "box_unit": "pixels",
        },
        "what",
        {"what": "int64"},
    ),
    "rows": Foreign(
        {"found": [3, 6]},
        "found = Concat <axis: int = -1> (x_first, score, number)",
        {"layout": "rows", "box_unit": "pixels"},
        "found",
    ),
    "yolo": Foreign(
        {"output0": [7, 9]},
        """
        across = Concat <axis: int = -1> (dense, dense_each)
        output0 = Transpose <perm: ints = [0, 2, 1]> (across)
        """,
        {"layout": "yolo", "box_unit": "pixels"},
        "output0",
    ),
    "yolo across": Foreign(
        {"output0": [9, 7]},
        "output0 = Concat <axis: int = -1> (dense_shares, dense_each)",
        {"layout": "yolo", "box_unit": "normalised"},
        "output0",
    ),
    "yolo-objectness": Foreign(
        {"output": [9, 8]},
        """
        objects = ReduceMax <axes: ints = [-1]> (dense_each)
        whole = Concat <axis: int = 1> (chosen, chosen, chosen)
        output = Concat <axis: int = -1> (dense, objects, whole)
        """,
        {"layout": "yolo-objectness", "box_unit": "pixels"},
        "output",
    ),
    "detr": Foreign(
        {"pred_logits": [3, 4], "pred_boxes": [3, 4]},
        """
        pred_boxes = Identity (centred_shares)
        pred_logits = Concat <axis: int = -1> (log_each, log_empty)
        """,
        {"layout": "detr", "head": "logits", "background": "last", "boxes": "pred_boxes"},
        "pred_logits",
    ),
    "detr of sigmoids": Foreign(
        {"logits": [3, 3], "pred_boxes": [3, 4]},
        """
        pred_boxes = Identity (centred_shares)
        logits = Identity (odds)
        """,
        {"layout": "detr", "head": "sigmoid-logits", "boxes": "pred_boxes", "scores": "logits"},
        "logits",
    ),
    "ssd": Foreign(
        {"scores": [9, 4], "boxes": [9, 4]},
        """
        sure = ReduceMax <axes: ints = [-1]> (dense_each)
        nothing = Sub (one, sure)
        given = Concat <axis: int = -1> (nothing, dense_each)
        shown = Identity (dense_corners)
        """,
        {
            "layout": "ssd",
            "boxes": "boxes",
            "head": "softmax",
            "background": "first",
            "box_order": "xyxy",
            "box_unit": "pixels",
        },
        "scores",
    ),
}
# Outputs whose names the text of a kind cannot use, since the finder's are called so.
RENAMED = {"ssd": {"given": "scores", "shown": "boxes"}}


def write_all(root: Path) -> None:
    """Write each kind into a repository, with batches, and with one picture and no batch."""
    for kind in KINDS:
        name = kind.replace(" ", "_")
        models.write(root, name, model(kind), config(kind), labels=detectors.LABELS)
        single = model(kind, batch=1, batched=False)
        models.write(root, f"{name}_alone", single, config(kind, most=0), labels=detectors.LABELS)


def config(kind: str, most: int = 4, **changed: str | None) -> str:
    """config.pbtxt of a kind, with some `detection.` keys changed, or left out if None."""
    foreign = KINDS[kind]
    datatype = {"int64": "TYPE_INT64"}.get(foreign.types.get(foreign.labelled, ""), "TYPE_FP32")
    said = {key: value for key, value in {**foreign.config, **changed}.items() if value}
    lines = [
        f"max_batch_size: {most}",
        'parameters { key: "plan" value { string_value: "1x1" } }',  # nothing is measured
        f'output [{{ name: "{foreign.labelled}" data_type: {datatype} '
        f'dims: {list(foreign.outputs[foreign.labelled])} label_filename: "labels.txt" }}]',
        *(
            f'parameters {{ key: "detection.{key}" value {{ string_value: "{value}" }} }}'
            for key, value in said.items()
        ),
    ]
    return "\n".join(lines)


def model(kind: str, *, batch: str | int = "batch", batched: bool = True) -> onnx.ModelProto:
    """`image` UINT8 [batch, 48, 64, 3] → the outputs of a kind.

    Args:
        kind: one of KINDS.
        batch: the first dimension, a name or 1.
        batched: whether the outputs have it; if not, it is 1.
    """
    finder = detectors.finder(batch)
    del finder.graph.input[1:]
    names = ("boxes", "scores", "classes", "count")
    outputs = [value.name for value in finder.graph.output]
    finder = compose.add_prefix(finder, "finder/", rename_inputs=False)
    tail = compose.add_prefix(_tail(kind, batch, batched=batched), "tail/")
    io_map = [
        (f"finder/{output}", f"tail/{name}") for output, name in zip(outputs, names, strict=True)
    ]
    whole = compose.merge_models(finder, tail, io_map=io_map)
    return _named(whole, RENAMED.get(kind, {}))


def _tail(kind: str, batch: str | int, *, batched: bool) -> onnx.ModelProto:
    """From what the finder finds to the outputs of a kind."""
    foreign = KINDS[kind]
    inner = {new: old for old, new in RENAMED.get(kind, {}).items()}
    first = [str(batch)] if batched else []
    outputs, squeezed = [], []
    for name, shape in foreign.outputs.items():
        own = inner.get(name, name)
        sizes = ", ".join([*first, *map(str, shape)])
        kind_of = foreign.types.get(name, "float") + (f"[{sizes}]" if sizes else "")
        outputs.append(f"{kind_of} {own}{'' if batched else '_'}")
        squeezed += [] if batched else [f"{own}_ = Squeeze ({own}, at_0)"]
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    tail (float[batch, 3, 4] boxes, float[batch, 3] scores, int64[batch, 3] classes,
        int32[batch] count) => ({", ".join(outputs)})
    {CONSTANTS}
    {{
    {SHARED}
    {foreign.text}
    {chr(10).join(squeezed)}
    }}
    """
    return parser.parse_model(text)


def _named(whole: onnx.ModelProto, renamed: Mapping[str, str]) -> onnx.ModelProto:
    """Give the outputs their own names, which are those of the source."""
    for value in whole.graph.output:
        old = value.name
        plain = old.removeprefix("tail/").removesuffix("_")
        value.name = renamed.get(plain, plain)
        for node in whole.graph.node:
            node.input[:] = [value.name if name == old else name for name in node.input]
            node.output[:] = [value.name if name == old else name for name in node.output]
    onnx.checker.check_model(whole)
    return whole
