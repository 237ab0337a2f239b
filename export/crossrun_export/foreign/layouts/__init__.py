"""Reads what detectors of other kinds return: at export, and inside the served graph.

`find` settles the layout of a source's outputs, `append` puts its decoding into the graph, and
`read` does the same in numpy, with TensorFlow's suppression: what the graph is held against.
"""

from crossrun_export.foreign.layouts.find import find
from crossrun_export.foreign.layouts.graph import append
from crossrun_export.foreign.layouts.layout import Layout
from crossrun_export.foreign.layouts.read import read
from crossrun_export.foreign.said import LAYOUTS, Said

__all__ = ["LAYOUTS", "Layout", "Said", "append", "find", "read"]
