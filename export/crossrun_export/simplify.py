"""Lets tf2onnx simplify a graph in place, which takes a fraction of the memory and of the time.

Before each of its dozen steps, which it repeats until none changes the graph, tf2onnx copies the
graph in case the step fails; after each it writes all constants into messages whose memory is
freed only with the graph. Together that came to fifty times the weights.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crossrun_export.backend import tf2onnx

_optimizer = tf2onnx.convert.optimizer
_with_copies = _optimizer.optimize_graph


@contextmanager
def in_place() -> Iterator[None]:
    """Simplify in place what tf2onnx converts inside this context."""
    _optimizer.optimize_graph = _optimize
    try:
        yield
    finally:
        _optimizer.optimize_graph = _with_copies


def _optimize(graph: Any, *args: Any, **named: Any) -> Any:
    """If a step fails, start again as tf2onnx does it, which leaves that step out."""
    untouched = copy.deepcopy(graph)
    try:
        _simplify(graph)
    except Exception:  # noqa: BLE001 - a step raises what it likes
        return _with_copies(untouched, *args, **named)
    return graph


def _simplify(graph: Any) -> None:
    """Apply all steps again and again until none changes the graph."""
    changed, iteration = True, 0
    while changed:
        steps = [step() for step in _optimizer._get_optimizers().values()]
        for step in steps:
            step.opt_iteration = iteration
            step._optimize(graph)
            graph.delete_unused_nodes(graph.outputs)
        changed = any(step.graph_been_opt for step in steps)
        iteration += 1
    graph.topological_sort(graph.get_nodes())
