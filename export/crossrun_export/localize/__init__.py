"""Boxes from a plain classifier: class-activation maps (Zhou et al. 2016) in its graph.

A classifier that ends in global average pooling and one layer of weights says of each cell of its
last feature map how much it speaks for a class; the scores are the mean of that. The map, cut at a
share of its range, has a largest connected region, and that region has a box. Nothing is trained.
"""

from crossrun_export.localize.corloc import Localization, measure
from crossrun_export.localize.graph import to_onnx
from crossrun_export.localize.network import Localizer, localizer
from crossrun_export.localize.parity import answers, check

__all__ = ["Localization", "Localizer", "answers", "check", "localizer", "measure", "to_onnx"]
