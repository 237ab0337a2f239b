"""How the tables of a report tell how far answers are from the original's."""

from collections.abc import Iterable, Iterator

from crossrun_bench.models.checked import CPU, NOTHING, Checked
from crossrun_bench.view.figures import NONE

COLUMN = "Off by"


def difference(found: Checked | None) -> str:
    """1.9e-06; nothing where nothing was compared."""
    known = found is not None and found.difference is not None
    return f"{found.difference:.1e}" if found and known else NONE


def notes(found: Iterable[Checked | None]) -> Iterator[str]:
    """What the column holds, of those that there are."""
    there = {one.against: one for one in found if one is not None}
    allowed = sorted({one.allowed for one in there.values() if one.allowed is not None})
    if there.keys() - {CPU, NOTHING}:
        held = f", allowed {' and '.join(f'{a:.2g}' for a in allowed)}" if allowed else ""
        yield f"{COLUMN}: the largest difference from the original's answers in proof.npz{held}."
    if CPU in there:
        yield f"{COLUMN}, without a proof: from the answers of the CPU provider."
    if there.keys() == {NOTHING}:
        yield "The model has no proof.npz: how far its answers are off is not known."
