"""Has each measured process answer the proof of its model before anything is timed.

A process that answers otherwise than the original is not measured, unless that is asked for. Our
server has answered the proof when it loaded the model, and says how far it was off.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.rounds import Child, started
from crossrun_bench.models import checked, proof
from crossrun_bench.models.checked import CPU as BY_CPU
from crossrun_bench.models.checked import NOTHING, Checked
from crossrun_bench.models.model import Model
from crossrun_bench.models.original import TENSORFLOW
from crossrun_bench.models.proof import Proof
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.providers import CPU
from crossrun_bench.targets.subjects import Subject
from crossrun_bench.targets.targets import REFERENCES, TARGETS
from crossrun_bench.targets.task import Task

UNPROVEN = Checked(NOTHING)


class Refused(BenchError):  # noqa: N818 - named after what happened
    """A process answers otherwise than the original."""


@dataclass(frozen=True)
class Judge:
    """A model's proof, if it has one, and the tolerance that overrules the proof's own."""

    proof: Proof | None
    tolerance: float | None
    folder: Path  # for the files that the processes read and write

    @classmethod
    def of(cls, model: Model, tolerance: float | None, folder: Path) -> "Judge":
        """With the proof beside the model.

        Raises:
            BenchError: the proof cannot be used.
        """
        inside = folder / "proof"
        inside.mkdir()
        return cls(proof.read(model), tolerance, inside)

    def checked(self, subjects: Sequence[Subject], children: Sequence[Child]) -> list[Checked]:
        """How far the answers of each process are off.

        Raises:
            Refused: a process is off by too much.
        """
        return [self._one(*pair) for pair in zip(subjects, children, strict=True)]

    def judged(self, name: str, found: Checked) -> Checked:
        """What was found.

        Raises:
            Refused: it is off by too much.
        """
        if why := checked.refusal(self.proof, found, told=self.tolerance is not None):
            raise Refused(f"{name} {why}")
        return found

    def pixels(self) -> Path:
        """A file of the proof's pictures."""
        assert self.proof
        file = self.folder / "pixels.npy"
        np.save(file, self.proof.pixels)
        return file

    def _one(self, subject: Subject, child: Child) -> Checked:
        target = TARGETS[child.task.target]
        if subject.server:
            return served(subject.server.address, child.task.model.name)
        if not target.in_process:
            return UNPROVEN
        if self.proof:
            empty = self.folder / "empty"
            empty.touch()  # in process nothing sees the encoded files
            files = (str(empty),) * len(self.proof.pixels)
            got = self._answers(child, Pictures(str(self.pixels()), files))
            found = checked.compared(self.proof, got, self.tolerance)
            return found if _is_own(child.task) else self.judged(str(subject), found)
        if not target.on_provider or child.task.provider.name == CPU.name:
            return UNPROVEN
        return self.judged(str(subject), self._by_cpu(child))

    def _by_cpu(self, child: Child) -> Checked:
        task = child.task
        got = self._answers(child, task.pictures)
        with started(replace(task, provider=CPU, python=task.python)) as other:
            other.hear()  # ready
            expected = self._answers(other, task.pictures)
        held = task.model.precision == "fp32"
        return checked.as_cpu(expected, got, self.tolerance, held=held)

    def _answers(self, child: Child, pictures: Pictures) -> NDArray[Any]:
        """Asks one by one: the memory of a batch would count as the memory of the process."""
        output = self.folder / "answers.npy"
        child.say(do="predict", pictures=asdict(pictures), batch=1, output=str(output))
        while child.hear():
            pass
        found: NDArray[Any] = np.load(output)
        return found


def _is_own(task: Task) -> bool:
    """Whether a SavedModel is run that is the original itself: it is told how far off it is.

    The proof is of its operations as they are written. TensorFlow by default fuses some of them
    where it has oneDNN, and is timed as it comes.
    """
    return task.target == REFERENCES[TENSORFLOW] and task.model.original.runtime == TENSORFLOW


def served(address: str, model: str) -> Checked:
    """How far the worst session of our server was off when it loaded a model."""
    from crossrun_bench.targets.runners.grpc_ import placements  # noqa: PLC0415 - only what is served

    found = [_told(placement.proof) for placement in placements(address, model)]
    return max(found, key=lambda one: one.difference or 0.0, default=UNPROVEN)


def _told(found: Any) -> Checked:
    against = {1: "photographs", 2: "drawn", 3: BY_CPU}.get(found.reference, NOTHING)

    def of(name: str) -> float | None:
        return getattr(found, name) if found.HasField(name) else None

    return Checked(against, 0, of("largest_difference"), of("agreement"), of("tolerance"))
