"""How far what was measured is from the original: found before anything was timed."""

from dataclasses import dataclass

NOTHING, CPU = "nothing", "cpu"  # what answers may be held against, beside those of a proof


@dataclass(frozen=True)
class Checked:
    """Answers to a few pictures, held against others."""

    against: str  # photographs or drawn: the original's, in proof.npz; cpu: the CPU provider's
    pictures: int = 0
    difference: float | None = None  # the largest of a number; null where nothing was compared
    agreement: float | None = None  # share of equal answers; null where there is no such share
    allowed: float | None = None  # the largest difference; null where none is held
