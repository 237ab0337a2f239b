"""Draws the pictures the bundled models are trained and measured on.

Objects of ten confusable classes over a cluttered background, with position, scale, rotation,
colour, contrast, occlusion, blur and noise varied: one object a picture, or several that overlap.
Every picture knows its classes and boxes, and is the same for the same (seed, index).
It does not know who looks at the pictures: no TensorFlow, no model.
"""

from crossrun_export.scenes.canvas import CLASSES, Box, Pixels
from crossrun_export.scenes.compose import (
    Group,
    Scene,
    Thing,
    batch,
    draw,
    draw_plain,
    draw_several,
)
from crossrun_export.scenes.folder import BOXES, Objects, write_folder
from crossrun_export.scenes.series import series

__all__ = [
    "BOXES",
    "CLASSES",
    "Box",
    "Group",
    "Objects",
    "Pixels",
    "Scene",
    "Thing",
    "batch",
    "draw",
    "draw_plain",
    "draw_several",
    "series",
    "write_folder",
]
