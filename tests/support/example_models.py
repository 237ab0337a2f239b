"""The models that Triton's public examples ask for, as far as their clients can tell.

Sequence models are there for their refusal: the server says of them what it does not do.
"""

import sys
from pathlib import Path

from onnx import TensorProto as Tp

from tests.support import models

LABELS = ["red", "green", "blue", *(f"colour {i}" for i in range(3, 1000))]
BATCHES = "max_batch_size: 8\n"
SEQUENCES = BATCHES + "sequence_batching { max_sequence_idle_microseconds: 5000000 }"
DENSENET = """
max_batch_size: 0
input [{ name: "data_0" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [3, 224, 224] }]
output [{ name: "fc6_1" data_type: TYPE_FP32 dims: [1000] label_filename: "labels.txt" }]
"""
INCEPTION = """
max_batch_size: 128
input [{ name: "input" data_type: TYPE_FP32 format: FORMAT_NHWC dims: [299, 299, 3] }]
output [{ name: "scores" data_type: TYPE_FP32 dims: [1000] label_filename: "labels.txt" }]
"""


def write_all(root: Path) -> Path:
    """Write the eight models into a repository; the examples count them."""
    for name, element_type in (
        ("simple", Tp.INT32),
        ("simple_int8", Tp.INT8),
        ("simple_string", Tp.STRING),
    ):
        models.write(root, name, models.sum_and_difference(element_type), BATCHES)
    strings = models.identity(Tp.STRING, ["batch", "any"], "INPUT0", "OUTPUT0")
    models.write(root, "simple_identity", strings, BATCHES)
    for name in ("simple_sequence", "simple_dyna_sequence"):
        model = models.identity(Tp.INT32, ["batch", 1], "INPUT", "OUTPUT")
        models.write(root, name, model, SEQUENCES)
    chw = models.dominant_colour("data_0", "fc6_1", [3, 224, 224], (1, 2))
    models.write(root, "densenet_onnx", chw, DENSENET, LABELS)
    nhwc = models.dominant_colour("input", "scores", ["batch", 299, 299, 3], (1, 2))
    models.write(root, "inception_graphdef", nhwc, INCEPTION, LABELS)
    return root


if __name__ == "__main__":  # for who wants to run the examples themselves
    write_all(Path(sys.argv[1]))
