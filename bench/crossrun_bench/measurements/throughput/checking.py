"""How far the answers of a process of `throughput` are from the original's."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.measurements.proving import UNPROVEN, Judge
from crossrun_bench.measurements.tasks import OnProvider
from crossrun_bench.models import checked
from crossrun_bench.models.checked import Checked
from crossrun_bench.processes.piped import Piped, piped
from crossrun_bench.providers import CPU


def check(judge: Judge, task: OnProvider, child: Piped, most: int) -> Checked:
    """Compares answers to up to `most` pictures with the proof's, else with the CPU provider's.

    Raises:
        Refused: they are off by too much.
    """
    proof = judge.proof
    count = min(most, len(proof.pixels) if proof else len(np.load(task.pixels)))
    if proof:
        got = _answers(judge, child, str(judge.pixels()), count)
        return judge.judged(child.name, checked.compared(proof, got, judge.tolerance))
    if task.provider.name == CPU.name:
        return UNPROVEN
    got = _answers(judge, child, task.pixels, count)
    expected = _by_cpu(judge, task, count)
    held = task.model.precision == "fp32"
    return judge.judged(child.name, checked.as_cpu(expected, got, judge.tolerance, held=held))


def _by_cpu(judge: Judge, task: OnProvider, count: int) -> NDArray[Any]:
    plain = replace(task, provider=CPU, way="plain", callers=1)
    with piped("measurements.throughput.process", str(plain)) as other:
        other.say(**asdict(plain))
        return _answers(judge, other, task.pixels, count)


def _answers(judge: Judge, child: Piped, pixels: str, count: int) -> NDArray[Any]:
    output = judge.folder / "answers.npy"
    child.ask(do="answer", batch=count, pixels=pixels, output=str(output))
    found: NDArray[Any] = np.load(output)
    return found
