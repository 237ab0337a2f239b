"""Which pixels a Keras model takes: asked for, told by its own graph, or known by how it is built.

`follow` lets pictures go through the model up to its first weights, `affine` finds the straight
line that they met, `ranges` tells which range makes sense with it, and `applications` knows the
networks of keras.applications.
"""

from crossrun_export.preprocessing.assume import assume

__all__ = ["assume"]
