"""What training makes small: boxes by complete IoU, scores by quality focal loss."""

from crossrun_export.backend import keras

ops = keras.ops

BOX_WEIGHT = 2.0


def loss(truth: keras.KerasTensor, found: keras.KerasTensor) -> keras.KerasTensor:
    """The loss of a batch, over the number of cells that answer for an object.

    Args:
        truth: float32 [N, cells, 4 + classes] as `targets` returns it.
        found: corners and scores of the network, likewise.
    """
    classes = truth[..., 4:]
    answering = ops.sum(classes, axis=-1)
    count = ops.maximum(ops.sum(answering), 1.0)
    fit = keras.utils.bounding_boxes.compute_ciou(truth[..., :4], found[..., :4], "yxyx")
    quality = ops.stop_gradient(ops.clip(fit, 0.0, 1.0))[..., None] * classes
    wrong = ops.sum(answering * (1.0 - fit)) * BOX_WEIGHT
    return (wrong + ops.sum(_quality_focal(quality, found[..., 4:]))) / count


def _quality_focal(wanted: keras.KerasTensor, found: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy, weighted by the square of the error: Li et al. 2020, equation 3, beta 2."""
    sure = ops.clip(found, 1e-6, 1 - 1e-6)
    entropy = -(wanted * ops.log(sure) + (1 - wanted) * ops.log(1 - sure))
    return ops.square(wanted - found) * entropy
