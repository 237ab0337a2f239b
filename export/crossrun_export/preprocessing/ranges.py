"""Which range of numbers is meant, from what a model makes of it before its first weights."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain

import numpy as np

from crossrun_export.preprocessing.affine import Affine, Floats
from crossrun_export.scaling import CAFFE_MEAN, CHOICES, Scaling

RANGES = ("0..255", "0..1", "-1..1")  # that a graph can tell apart
RGB, BGR = (0, 1, 2), (2, 1, 0)
HALVED = {"-1..1": "-0.5..0.5"}  # to multiply is no reason to think of signed numbers
# The habits are 127.5, 128, 255 and 256: within a percent of the span they are the same.
ALIKE = 0.012


def of(scaling: Scaling) -> Affine:
    """What a model gets of pixels that are scaled for it and nothing else."""
    order = RGB if scaling.color == "RGB" else BGR
    inverse = np.argsort(order)  # where in `scaling` each channel of RGB is
    return Affine(np.array(scaling.scale)[inverse], np.array(scaling.offset)[inverse], order)


def _usual() -> dict[str, Affine]:
    """What first layers are used to get, by name."""
    half = Affine(np.full(3, 1 / 255), np.full(3, -0.5), RGB)
    less_mean = Affine(np.ones(3), -np.array(CAFFE_MEAN), RGB)
    return {name: of(choice) for name, choice in CHOICES.items()} | {
        "-0.5..0.5": half,
        "RGB less the mean": less_mean,
    }


USUAL = _usual()
ORDERED = ("torch", "caffe", "RGB less the mean")  # their means differ by channel


def usual(got: Affine) -> str | None:
    """The name in USUAL of what a layer gets; None if it is nothing usual."""
    exact = (name for name, one in USUAL.items() if got.equals(one, ALIKE))
    ordered = ((name, replace(USUAL[name], order=got.order)) for name in ORDERED)
    turned = (name for name, one in ordered if got.equals(one, ALIKE))
    return next(chain(exact, turned), None)


def is_turned(got: Affine) -> bool:
    """Whether the order of the channels is not that of RGB, or nothing tells if it is.

    Means that differ by channel tell it; those of ImageNet on the wrong channels belong to BGR.
    """
    wrong = Affine(got.scale[::-1], got.offset[::-1], RGB)
    return usual(got) is None and (got.order != RGB or usual(wrong) in ORDERED)


def told(found: Mapping[str, Affine]) -> str | None:
    """The one of RANGES that makes sense.

    Args:
        found: what a first layer gets of pixels in each of RANGES that it gets in a straight line.

    Returns:
        None if none makes sense, or several do.
    """
    usuals = {key: usual(got) for key, got in found.items()}
    exact = [key for key, name in usuals.items() if name not in (None, key)]
    if HALVED.items() <= usuals.items():
        exact.remove(*HALVED)
    likely = exact or [key for key, got in found.items() if _is_likely(key, got)]
    return likely[0] if len(likely) == 1 else None


def _is_likely(key: str, got: Affine) -> bool:
    """Whether (number - mean) / deviation, as a layer gets it, has a mean and a deviation of `key`.

    Of numbers in a … b with the mean m, no deviation is larger than sqrt((m - a) * (b - m)).
    """
    return not is_turned(got) and all(
        _LIKELY[key](mean, deviation) for mean, deviation in _mean_and_deviation(CHOICES[key], got)
    )


def _mean_and_deviation(range_: Scaling, got: Affine) -> Iterator[tuple[float, float]]:
    scale, shift = range_.scale[0], range_.offset[0]
    means: Floats = -got.offset / got.scale * scale + shift
    yield from zip(means.tolist(), (scale / got.scale).tolist(), strict=True)


def _of_bytes(mean: float, deviation: float) -> bool:
    if abs(mean) < 1e-3:  # no more than divided
        return 50 <= deviation <= 510
    return deviation >= 5 and deviation**2 <= mean * (255 - mean)


def _of_shares(mean: float, deviation: float) -> bool:
    return 0.02 <= deviation <= 0.32 and deviation**2 <= mean * (1 - mean)


def _of_signed(mean: float, deviation: float) -> bool:
    """Of what cannot be in 0..1, nor comes from multiplying."""
    beyond = mean < 0 or deviation**2 > 1.1 * mean * (1 - mean)
    possible = deviation >= 0.1 and deviation**2 <= 1 - mean**2
    return beyond and possible and 1e-3 < abs(mean) < 0.6


_LIKELY = {"0..255": _of_bytes, "0..1": _of_shares, "-1..1": _of_signed}
