"""One lane whose answers are checked before it serves, and the wording of its refusal."""

from dataclasses import dataclass

import numpy as np

from crossrun_server.errors import LoadError
from crossrun_server.proofs.comparison import Worst
from crossrun_server.proofs.proof_file import Proof
from crossrun_server.runtime import defaults
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.runtime.providers import CPU
from crossrun_server.scheduling.batching import Run


class WrongAnswers(LoadError):  # noqa: N818 - named as its family is
    """A provider's answers are too far off; `difference` is the largest, which may be NaN."""

    def __init__(self, message: str, difference: float) -> None:
        super().__init__(message)
        self.difference = difference


@dataclass(frozen=True)
class CheckedLane:
    """A lane's run, and what computes it."""

    run: Run
    assignment: Assignment

    @property
    def provider(self) -> str:
        """The provider in question: the first that is not the CPU's, or else the CPU's."""
        return next((name for name in self.assignment.nodes if name != CPU), CPU)

    @property
    def title(self) -> str:
        """The provider, and the precision that it was told to compute in, if that is known."""
        asked = self.assignment.asked_precision
        return f"{self.provider} in {asked}" if asked else self.provider

    @property
    def advice(self) -> str:
        """How to serve the model nevertheless."""
        option = defaults.on_purpose(self.provider)
        return (
            "for bf16, TF32 or fp16 on purpose allow more by parameters 'proof_tolerance' in "
            f"config.pbtxt or by --proof-tolerance{f', and give {option}' if option else ''}"
        )

    def too_far(self, worst: Worst, reference: str) -> WrongAnswers:
        """Return the error that an output is too far from the reference's."""
        off = f"is off by {worst.difference:.2g} in {worst.output!r} from {reference}, allowed is"
        told = f"{self.title} {off} {worst.allowed:.2g}; {self.advice}"
        if np.isnan(worst.difference):
            told = f"{self.title} returns NaN or infinity in {worst.output!r}; {self.advice}"
        return WrongAnswers(told, worst.difference)

    def too_few(self, worst: Worst, agreement: float, proof: Proof) -> WrongAnswers:
        """Return the error that too few answers are the original's."""
        return WrongAnswers(
            f"{self.title} returns the original's answers in {agreement:.2%} of the proof, "
            f"required are {proof.min_agreement:.2%} in {proof.precision}; {self.advice}",
            worst.difference,
        )
