"""What a session's answers were compared with before it served, and how far off they were.

Knows no arrays and no provider: it holds the result, and words it for people.
"""

from dataclasses import dataclass

from crossrun_server.proofs.proof_file import PHOTOGRAPHS

NOTHING, RANDOM = "nothing", "random"  # origins of a session without a proof


@dataclass(frozen=True)
class Evidence:
    """What a session was compared with before it served, and how far off it was."""

    origin: str = NOTHING  # of the inputs: PHOTOGRAPHS or DRAWN of a proof, or RANDOM
    difference: float | None = None  # the largest; None if nothing was compared
    agreement: float | None = None  # share of equal answers; None if there is no such share
    allowed: float | None = None  # the largest difference that is allowed
    precision: str = ""  # in which the model was proven
    asked_precision: str = ""  # in which its provider was told to compute fp32; may be unknown
    rows: int = 0  # that were compared
    note: str = ""  # why nothing was compared, or why no difference is refused
    left_out: tuple[str, ...] = ()  # outputs that the proof does not have

    def __str__(self) -> str:
        asked = f", told to compute in {self.asked_precision}" if self.asked_precision else ""
        if self.difference is None:
            return f"no proof{self.note and f'; {self.note}'}{asked}"
        held = f"allowed {self.allowed:.2g}" if self.allowed is not None else self.note
        if self.origin == RANDOM:
            against = f"the CPU provider on random inputs ({held})"
            return f"no proof; within {self.difference:.2g} of {against}{asked}"
        return self._with_proof(held) + asked + self._rest()

    def _with_proof(self, held: str) -> str:
        same = "" if self.agreement is None else f", {self.agreement:.2%} of answers the same"
        kind = "photograph" if self.origin == PHOTOGRAPHS else "drawn picture"
        against = f"the original on {self.rows} {kind}{'s' * (self.rows > 1)}"
        return f"within {self.difference:.2g} of {against} ({self.precision}, {held}){same}"

    def _rest(self) -> str:
        return f"; no proof of {', '.join(self.left_out)}" if self.left_out else ""
