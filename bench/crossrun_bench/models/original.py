"""The model that was exported: the file beside model.onnx, and how it is asked.

Knows no runtime, and not how answers are read.
"""

from dataclasses import dataclass

KERAS, TENSORFLOW, LITERT, ONNXRUNTIME = "keras", "tensorflow", "litert", "onnxruntime"
# What the original is called, by the runtime that answers for it.
CALLED = {
    KERAS: "a Keras model",
    TENSORFLOW: "a SavedModel",
    LITERT: "a LiteRT file",
    ONNXRUNTIME: "an ONNX file",
}


@dataclass(frozen=True)
class Layout:
    """How a detector's outputs are read: `layout` of crossrun.source, by its keys."""

    layout: str
    outputs: dict[str, str]  # boxes, scores, classes, count, rows → the output's name
    # The original's number of each line of labels.txt; if there is a score for each class, its
    # place.
    numbers: tuple[int, ...] = ()
    batched: bool = True  # whether outputs have a dimension for the batch
    columns_first: bool = False  # whether rows are columns
    box_order: str = "yxyx"  # or xyxy or cxcywh
    box_unit: str = "normalised"  # or pixels of the input
    background: str = "none"  # or first or last, beside `numbers`
    head: str | None = None  # what the scores of each class are; None if classes are numbers


@dataclass(frozen=True)
class Original:
    """Which runtime answers, and what it has to be told: crossrun.source, by its keys.

    What Keras models leave out has a default.
    """

    runtime: str = KERAS  # a key of CALLED
    file: str = "model.keras"  # or a folder, by its path
    signature: str | None = None  # None or empty: what is served by default
    input: str | None = None  # None: the only one
    dtype: str = "float32"  # of the input, as numpy spells it
    axes: str = "NHWC"  # or NCHW
    layout: Layout | None = None  # of a detector
