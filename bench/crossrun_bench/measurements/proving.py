"""Has each measured process answer the proof of its model before anything is timed.

What answers otherwise than the original is not measured, unless that is asked for. A server of ours
has done so itself when it loaded the model, and tells what it found.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.rounds import Child, started
from crossrun_bench.measurements.tasks import OnProvider
from crossrun_bench.models import checked, proof
from crossrun_bench.models.checked import CPU as BY_CPU
from crossrun_bench.models.checked import NOTHING, Checked
from crossrun_bench.models.model import Model
from crossrun_bench.models.proof import Proof
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.processes.piped import Piped, piped
from crossrun_bench.providers import CPU
from crossrun_bench.targets.subjects import Subject
from crossrun_bench.targets.targets import TARGETS

UNPROVEN = Checked(NOTHING)


class Refused(BenchError):  # noqa: N818 - named after what happened
    """What was to be measured answers otherwise than the original."""


@dataclass(frozen=True)
class Judge:
    """A model's proof, if it has one, and what is to be allowed in place of what it allows."""

    proof: Proof | None
    tolerance: float | None
    folder: Path  # for what the processes are handed

    @classmethod
    def of(cls, model: Model, tolerance: float | None, folder: Path) -> "Judge":
        """With the proof beside the model; BenchError where that cannot be used."""
        inside = folder / "proof"
        inside.mkdir()
        return cls(proof.read(model), tolerance, inside)

    def checked(self, subjects: Sequence[Subject], children: Sequence[Child]) -> list[Checked]:
        """What each process answers to it; Refused for one that is too far off."""
        return [self._one(*pair) for pair in zip(subjects, children, strict=True)]

    def judged(self, name: str, found: Checked) -> Checked:
        """What was found; Refused where it is too far off."""
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
            return self.judged(str(subject), checked.compared(self.proof, got, self.tolerance))
        if not target.on_provider or child.task.provider.name == CPU.name:
            return UNPROVEN
        return self.judged(str(subject), self._by_cpu(child))

    def on_provider(self, task: OnProvider, child: Piped, most: int) -> Checked:
        """What a process of `throughput` answers to up to `most` pictures; Refused as above."""
        count = min(most, len(self.proof.pixels) if self.proof else len(np.load(task.pixels)))
        if self.proof:
            got = self._batch(child, str(self.pixels()), count)
            return self.judged(child.name, checked.compared(self.proof, got, self.tolerance))
        if task.provider.name == CPU.name:
            return UNPROVEN
        got = self._batch(child, task.pixels, count)
        plain = replace(task, provider=CPU, way="plain", callers=1)
        with piped("measurements.throughput.process", str(plain)) as other:
            other.say(**asdict(plain))
            expected = self._batch(other, task.pixels, count)
        held = task.model.precision == "fp32"
        return self.judged(child.name, checked.as_cpu(expected, got, self.tolerance, held=held))

    def _batch(self, child: Piped, pixels: str, count: int) -> NDArray[Any]:
        output = self.folder / "answers.npy"
        child.ask(do="answer", batch=count, pixels=pixels, output=str(output))
        found: NDArray[Any] = np.load(output)
        return found

    def _by_cpu(self, child: Child) -> Checked:
        task = child.task
        got = self._answers(child, task.pictures)
        with started(replace(task, provider=CPU, python=task.python)) as other:
            other.hear()  # ready
            expected = self._answers(other, task.pictures)
        held = task.model.precision == "fp32"
        return checked.as_cpu(expected, got, self.tolerance, held=held)

    def _answers(self, child: Child, pictures: Pictures) -> NDArray[Any]:
        """One by one, so that the memory that a process is measured by is not that of a batch."""
        output = self.folder / "answers.npy"
        child.say(do="predict", pictures=asdict(pictures), batch=1, output=str(output))
        while child.hear():
            pass
        found: NDArray[Any] = np.load(output)
        return found


def served(address: str, model: str) -> Checked:
    """What a server of ours found when it loaded a model, of its sessions the worst."""
    from crossrun_bench.targets.runners.grpc_ import placements  # noqa: PLC0415 - only what is served

    found = [_told(placement.proof) for placement in placements(address, model)]
    return max(found, key=lambda one: one.difference or 0.0, default=UNPROVEN)


def _told(found: Any) -> Checked:
    against = {1: "photographs", 2: "drawn", 3: BY_CPU}.get(found.reference, NOTHING)

    def of(name: str) -> float | None:
        return getattr(found, name) if found.HasField(name) else None

    return Checked(against, 0, of("largest_difference"), of("agreement"), of("tolerance"))
