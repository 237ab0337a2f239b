"""Figures as multiples of those that one target had in the same round of the same file.

What slows the whole machine, a host that others share above all, slows both, and cancels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from crossrun_bench.compare.likeness import Pair
from crossrun_bench.errors import BenchError
from crossrun_bench.view.series import Key, Series


def relative(found: Mapping[Key, Series], reference: str) -> dict[Key, Series]:
    """Times by the median time of the reference, rates by its rate; without the reference itself.

    The reference is taken at the same setting, or at its only one.

    Raises:
        BenchError: there is no such reference.
    """
    own = _settings(found, reference)
    return {
        (target, setting): _by(series, _at(own, setting, reference))
        for (target, setting), series in found.items()
        if target != reference
    }


def moved(before: Mapping[Key, Series], after: Mapping[Key, Series], reference: str) -> list[Pair]:
    """What the reference itself took in each file."""
    a, b = (_settings(side, reference) for side in (before, after))
    return [
        (f"{reference}, {setting}, p50", _p50(a[setting]), _p50(b[setting]))
        for setting in a
        if setting in b and a[setting].rounds and b[setting].rounds
    ]


def _settings(found: Mapping[Key, Series], reference: str) -> dict[str, Series]:
    own = {setting: series for (target, setting), series in found.items() if target == reference}
    if not own:
        known = (
            ", ".join(dict.fromkeys(target for target, _ in found)) or "none: there are no rounds"
        )
        raise BenchError(f"--relative-to '{reference}': expected one of {known}")
    return own


def _at(own: Mapping[str, Series], setting: str, reference: str) -> Series:
    if setting in own:
        return own[setting]
    if len(own) > 1:
        raise BenchError(f"--relative-to '{reference}': it was not measured at {setting}")
    return next(iter(own.values()))


def _by(series: Series, reference: Series) -> Series:
    pairs = list(_pairs(series, reference))
    kept = series.only([i for i, _ in pairs])
    timed = zip(kept.rounds, pairs, strict=True) if kept.rounds and reference.rounds else ()
    rounds = [times / np.median(reference.rounds[j]) for times, (_, j) in timed]
    answered, seconds = reference.rates[[j for _, j in pairs]].T
    counts, spent = kept.rates.T
    rates = np.stack([counts, spent * answered / seconds], axis=1)
    return replace(kept, rounds=rounds, rates=rates)


def _pairs(series: Series, reference: Series) -> Iterator[tuple[int, int]]:
    """Where the rounds stand that both have, and in which the reference answered."""
    places = {number: place for place, number in enumerate(reference.numbers)}
    return (
        (place, places[number])
        for place, number in enumerate(series.numbers)
        if number in places and reference.rates[places[number], 0]
    )


def _p50(series: Series) -> str:
    return f"{np.median(np.concatenate(series.answered)):.3g} ms"
