"""What makes boxes from class-activation maps tight: CorLoc of the ways that were tried.

    .venv/bin/python export/studies/localization.py

The bundled classifier looks at drawn pictures and is told their class. Of each way the threshold
that is best on one series is reported on another, which no training saw.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from crossrun_export import inference, localize, scenes, sources
from crossrun_export.localize.corloc import GOOD, PICTURES, overlap
from crossrun_export.localize.graph import HEAT
from crossrun_export.localize.network import Floats, Look
from crossrun_export.localize.parity import box, enlarged, features, spread
from crossrun_export.options import Localize
from crossrun_export.train import HELD_OUT_SEED

CHOOSING_SEED = 11
THRESHOLDS = np.linspace(0.2, 0.8, 13)
FIRST = 0.35  # the threshold of the first try
MIDDLE = (0.2, 0.2, 0.8, 0.8)  # of such boxes the best


@dataclass(frozen=True)
class Looks:
    """What each cell says of each class, [count, h, w, classes], and where the cells are."""

    own: tuple[Floats, Look]
    dilated: tuple[Floats, Look]
    zoomed: tuple[Floats, Look]


@dataclass(frozen=True)
class Series:
    """Drawn pictures of one object each."""

    labels: NDArray[np.int64]
    boxes: Floats  # [count, 4], 0 to 1
    looks: Looks

    def corloc(self, maps: Floats, threshold: float) -> float:
        """Share of pictures whose box at a threshold is good; maps are [count, h, w]."""
        flat = maps - maps.min(axis=(1, 2), keepdims=True)
        heat = flat / flat.max(axis=(1, 2), keepdims=True)
        found = np.array([box(one, threshold) for one in heat])
        return float((overlap(found, self.boxes) >= GOOD).mean())


def main() -> None:
    """Measure, and print the table."""
    source = sources.mobilenet(None, None, "bundled", None)
    choosing, held_out = (_series(source, seed) for seed in (CHOOSING_SEED, HELD_OUT_SEED))
    table = Table("way", "threshold", "CorLoc")
    in_middle = overlap(np.array(MIDDLE), held_out.boxes) >= GOOD
    table.add_row("the picture's middle, unseen", "", f"{in_middle.mean():.1%}")
    for name, way in WAYS.items():
        maps = way(choosing)
        scores = {share: choosing.corloc(maps, share) for share in THRESHOLDS}
        best = max(scores, key=scores.__getitem__)
        for threshold in (FIRST, best) if name == FIRST_TRY else (best,):
            corloc = held_out.corloc(way(held_out), threshold)
            table.add_row(name, f"{threshold:.2f}", f"{corloc:.1%}")
    Console().print(table)


def _series(source: sources.Source, seed: int) -> Series:
    _, size = source.size
    drawn = [scenes.draw(seed, index, size) for index in range(PICTURES)]
    inputs = inference.inputs_of(source, np.stack([scene.pixels for scene in drawn]), "float32")
    return Series(
        np.array([scene.label for scene in drawn]),
        np.array([scene.box for scene in drawn], np.float32) / np.float32(size),
        _looks(source, inputs),
    )


def _looks(source: sources.Source, inputs: Floats) -> Looks:
    parts = localize.localizer(source, Localize())
    plain, zoomed, rate = parts.plain, parts.zoomed, parts.rate
    assert zoomed
    last = source.model.get_layer("conv_preds")
    kernel, bias = np.squeeze(last.kernel), np.asarray(last.bias)
    fine = features(plain, inputs) @ kernel + bias
    own = replace(plain, rows=plain.rows[::rate], columns=plain.columns[::rate])
    return Looks(
        (fine[:, ::rate, ::rate], own),
        (fine, plain),
        (features(zoomed, enlarged(inputs)) @ kernel + bias, zoomed),
    )


def _own(series: Series, said: Floats) -> Floats:
    """Of what is said of all classes, what is of the right one: [count, h, w]."""
    own: Floats = said[np.arange(len(said)), :, :, series.labels]
    return own


def _less_mean(series: Series, said: Floats) -> Floats:
    """Less what all classes share."""
    mean: Floats = said.mean(axis=-1)
    return _own(series, said) - mean


def _less_best(series: Series, said: Floats) -> Floats:
    """Less the strongest other class."""
    others = said.copy()
    others[np.arange(len(said)), :, :, series.labels] = -np.inf
    strongest: Floats = others.max(axis=-1)
    return _own(series, said) - strongest


def _softmax(series: Series, said: Floats) -> Floats:
    """As probabilities, each cell for itself."""
    powers = np.exp(said - said.max(axis=-1, keepdims=True))
    return _own(series, powers / powers.sum(axis=-1, keepdims=True))


def _spread(
    series: Series,
    look: tuple[Floats, Look],
    against: Callable[[Series, Floats], Floats] = _less_mean,
    shift: float = 0.0,
) -> Floats:
    """A look's map over the picture, [count, HEAT, HEAT], its cells moved by a share of that."""
    said, where = look
    moved = replace(where, rows=where.rows + shift, columns=where.columns + shift)
    return spread(against(series, said)[:, np.newaxis], moved, HEAT)[:, 0]


# Half of a cell, of three: where padding at the far ends puts the middles of receptive fields.
HALF_TILE = 0.5 / 3

FIRST_TRY = "the classifier's map, cells as they are"
WAYS: dict[str, Callable[[Series], Floats]] = {
    FIRST_TRY: lambda s: _own(s, s.looks.own[0]),
    "… interpolated": lambda s: _spread(s, s.looks.own, _own),
    "… less what all classes share": lambda s: _spread(s, s.looks.own),
    "twice as fine (dilated)": lambda s: _spread(s, s.looks.dilated),
    "… all classes' share left in": lambda s: _spread(s, s.looks.dilated, _own),
    "… less the strongest other class": lambda s: _spread(s, s.looks.dilated, _less_best),
    "… as probabilities of each cell": lambda s: _spread(s, s.looks.dilated, _softmax),
    "… moved to the receptive fields": lambda s: _spread(s, s.looks.dilated, shift=HALF_TILE),
    "at twice the size alone": lambda s: _spread(s, s.looks.zoomed),
    "twice as fine, and at twice the size": lambda s: (
        _spread(s, s.looks.dilated) + _spread(s, s.looks.zoomed)
    ),
}


if __name__ == "__main__":
    main()
