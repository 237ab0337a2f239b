"""A training of the detector that takes seconds."""

from crossrun_export import scenes
from crossrun_export.detector import data
from crossrun_export.detector.settings import Training

SIZE = 32
SMALL = Training(size=SIZE, epochs=2, batch=4, seed=3)


def few() -> data.DataSet:
    groups = [scenes.draw_several(5, index, SIZE) for index in range(12)]
    examples = [data.drawing(group) for group in groups]
    return data.DataSet(scenes.CLASSES, examples[:8], examples[8:])
