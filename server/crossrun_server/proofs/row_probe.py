"""Whether rows that share a run are independent: made-up rows, run alone and together.

The run is a plain function. Knows no onnxruntime and no configuration.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crossrun_server.proofs import row_draws
from crossrun_server.proofs.row_draws import Draw
from crossrun_server.proofs.row_trial import Mixed, ProbeSpec, Refused, TrialOutcome, Unknown, trial
from crossrun_server.scheduling.batching import Run, Tensors

PROVEN, MIXED, UNKNOWN = "proven", "mixed", "unknown"


@dataclass(frozen=True)
class Finding:
    """What was found of a model's rows, and why."""

    state: str  # PROVEN, MIXED or UNKNOWN
    reason: str


def probe(run: Run, spec: ProbeSpec) -> Finding:
    """Run made-up rows alone and in runs of 2 and 3, with and without the optional inputs.

    Every output must have one row for each row of the inputs, and it must not depend on the
    other rows of the run.
    """
    counted = _Counted(run)
    required = tuple(tensor for tensor in spec.inputs if not tensor.optional)
    try:
        with np.errstate(all="ignore"):
            outcomes = [
                outcome
                for inputs in dict.fromkeys((required, spec.inputs))
                for outcome in _outcomes(counted, replace(spec, inputs=inputs))
            ]
    except Mixed as mixed:
        return Finding(MIXED, str(mixed))
    except Unknown as unknown:
        return Finding(UNKNOWN, str(unknown))
    if not any(outcome.apart for outcome in outcomes):
        return Finding(UNKNOWN, "the model answers all made-up rows alike")
    shown = set(spec.numbers).union(*(outcome.shown for outcome in outcomes))
    if silent := [tensor.name for tensor in spec.outputs if tensor.name not in shown]:
        return Finding(UNKNOWN, f"output {silent[0]!r} is nothing or zeros for all made-up rows")
    return Finding(PROVEN, f"proven by {counted.runs} runs of made-up rows")


class _Counted:
    """A run that counts its calls."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.runs = 0

    def __call__(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        self.runs += 1
        return self._run(inputs, outputs)


def _outcomes(run: Run, spec: ProbeSpec) -> list[TrialOutcome]:
    """Try the given rows, and made-up rows of the first kind that the model accepts."""
    outcomes, refusals = _try_all(run, spec, row_draws.given(spec.inputs, spec.given))
    for draws in row_draws.made_up(spec.inputs, spec.ranges, spec.given):
        found, refused = _try_all(run, spec, draws)
        outcomes, refusals = outcomes + found, refusals + refused
        if found:
            break
    if not outcomes:
        raise Unknown(f"the model refuses made-up rows: {refusals[0]}")
    return outcomes


def _try_all(
    run: Run, spec: ProbeSpec, draws: Iterable[Draw]
) -> tuple[list[TrialOutcome], list[str]]:
    """Try each draw; return the outcomes, and the reasons for those that the model refuses."""
    outcomes, refusals = [], []
    for draw in draws:
        try:
            outcomes.append(trial(run, spec, draw))
        except Refused as refused:
            refusals.append(str(refused))
    return outcomes, refusals
