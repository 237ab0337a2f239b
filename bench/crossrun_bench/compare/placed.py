"""Rounds of both files that were measured while a host had put our cores as far apart."""

from collections.abc import Iterable, Mapping

from crossrun_bench.errors import BenchError
from crossrun_bench.machine.placement import near
from crossrun_bench.view.series import Key, Series

Found = Mapping[Key, Series]


def together(a: Found, b: Found) -> tuple[Found, Found]:
    """The rounds that are alike of what both hold; a series without any is left out.

    Raises:
        BenchError: no series has any.
    """
    shared = {key: _alike(a[key], b[key]) for key in a if key in b}
    alike = {key: pair for key, pair in shared.items() if pair[0].numbers and pair[1].numbers}
    if shared and not alike:
        raise BenchError("not alike: a host had put the cores elsewhere in all rounds of A and B")
    own, other = ({key: pair[side] for key, pair in alike.items()} for side in (0, 1))
    return own, other


def left_out(before: Found, after: Found, used: tuple[Found, Found]) -> str | None:
    """How many of the shared rounds are compared, as a sentence; None for all of them."""
    keys = before.keys() & after.keys()
    every = [_rounds(side[key] for key in keys) for side in (before, after)]
    kept = [_rounds(side.values()) for side in used]
    if every == kept:
        return None
    counts = [f"{own:,} of {all_:,} rounds" for own, all_ in zip(kept, every, strict=True)]
    return (
        f"A host moved our cores: compared are {counts[0]} of A and {counts[1]} of B, in which a "
        "byte took as long from one core to the other and back."
    )


def _alike(a: Series, b: Series) -> tuple[Series, Series]:
    """Rounds of the nearest placement that both have; all rounds if a file does not say."""
    trips, others = ([ns for ns in side.trips if ns is not None] for side in (a, b))
    if len(trips) < len(a.trips) or len(others) < len(b.trips):
        return a, b
    shared = (ns for ns in sorted(trips) if any(near(ns, other) for other in others))
    nearest = next(shared, None)
    return _of(a, nearest), _of(b, nearest)


def _of(series: Series, trip: int | None) -> Series:
    places = [i for i, ns in enumerate(series.trips) if ns and trip and near(ns, trip)]
    return series.only(places)


def _rounds(found: Iterable[Series]) -> int:
    return sum(len(series.numbers) for series in found)
