"""The colours of classes, which differ as much as they can, and of letters on them."""

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
_FIRST = (255, 51, 51)
_LEVELS = range(0, 256, 51)  # of red, green and blue
_LEAST_CONTRAST = 3  # with black: what WCAG 2 asks of lines
# CIE 1931 XYZ of sRGB's red, green and blue, as shares of its white, D65.
_XYZ = np.array(
    [[0.43395, 0.2126, 0.01775], [0.37622, 0.7152, 0.10947], [0.18983, 0.0722, 0.87278]]
)


def colour(number: int) -> Colour:
    """The colour of a class, the same in every picture, and bright beside black."""
    known = _palette()
    return known[number % len(known)]


def ink(fill: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour."""
    return max((BLACK, WHITE), key=lambda letters: contrast(letters, fill))


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of WCAG 2, from 1 to 21; text should have 4.5, lines 3."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def difference(one: Colour, other: Colour) -> float:
    """How far apart two colours are to the eye: their distance in CIELAB, CIE 1976; 2.3 is seen."""
    return float(np.linalg.norm(_lab(one) - _lab(other)))


@cache
def _palette() -> list[Colour]:
    """Each colour is the one that differs most from those before it (farthest-first traversal)."""
    left = [c for c in product(_LEVELS, _LEVELS, _LEVELS) if contrast(c, BLACK) >= _LEAST_CONTRAST]
    left = [c for c in left if len(set(c)) > 1]  # greys say nothing
    found = [_FIRST]
    apart = {c: difference(c, _FIRST) for c in left if c != _FIRST}
    while apart:
        found.append(max(apart, key=lambda c: apart[c]))
        del apart[found[-1]]
        apart = {c: min(far, difference(c, found[-1])) for c, far in apart.items()}
    return found


def _luminance(of: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 to 1: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    return float((_linear(of) @ _XYZ)[1])


def _linear(of: Colour) -> NDArray[np.float64]:
    shares = np.array(of) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


@cache
def _lab(of: Colour) -> NDArray[np.float64]:
    """CIELAB L*, a*, b* [3], as CIE 15 defines them."""
    shares = _linear(of) @ _XYZ
    x, y, z = np.where(shares > 216 / 24389, np.cbrt(shares), (24389 / 27 * shares + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
