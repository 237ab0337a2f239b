"""Compares a model without a proof with the CPU provider, on random inputs.

The CPU provider is asked twice, the second time with inputs that hardly differ. An output that
jumps between the two proves nothing, and is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models.answers.checked_lane import CheckedLane
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.proofs import comparison, random_inputs
from crossrun_server.proofs.comparison import Differences
from crossrun_server.proofs.evidence import RANDOM, Evidence
from crossrun_server.runtime import ort_errors, providers
from crossrun_server.runtime.providers import CPU
from crossrun_server.runtime.session import Session
from crossrun_server.tensors.tensor_spec import Array

# Nobody knows the range of the answers. So an answer may differ by ABSOLUTE, and by RELATIVE of
# the largest number in its output. In fp32 providers differ by a hundredth of this, in bf16 by
# several times as much.
ABSOLUTE, RELATIVE = 1e-4, 1e-3
# A nudge moves inputs by about as much as providers differ; an output must not move JUMP times
# as far as is allowed.
NUDGE, JUMP = 1e-6, 10.0
INCOMPARABLE = "its outputs cannot be compared on random inputs"
SIZES = (32, 1)  # tried for free sizes, one after the other, until the model takes them


@dataclass(frozen=True)
class _Reference:
    """The CPU provider's answers to random inputs."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]  # floats
    allowed: Mapping[str, float]  # by output; without the outputs that jump


def check(
    lanes: Sequence[CheckedLane], file: Path, opened: OpenedLanes, allowed: float | None
) -> list[Evidence]:
    """Compare the answers of every lane with the CPU provider's.

    Args:
        lanes: what runs.
        file: the model's.
        opened: the same lanes, with the model's sessions and configuration.
        allowed: the largest difference of any output; None for ABSOLUTE and RELATIVE.

    Raises:
        WrongAnswers: the answers are too far off.
    """
    try:
        reference = _reference(file, opened.served)
    except Exception as error:  # noqa: BLE001 - whatever a model raises on meaningless inputs
        why = f"the CPU provider refuses random inputs: {ort_errors.plain(str(error))}"
        return [Evidence(note=why) for _ in lanes]
    free = allowed is None and any(map(_is_reduced, opened.sessions))
    return [_compared(lane, reference, allowed, free) for lane in lanes]


def _compared(
    lane: CheckedLane, reference: _Reference, allowed: float | None, free: bool
) -> Evidence:
    if not reference.allowed:
        return Evidence(note=INCOMPARABLE)
    try:
        got = lane.run(dict(reference.inputs), list(reference.allowed))
    except Exception as error:  # noqa: BLE001 - as above
        reason = ort_errors.plain(str(error))
        return Evidence(note=f"{lane.provider} refuses random inputs: {reason}")
    pairs = ((name, reference.outputs[name], got[name]) for name in reference.allowed)
    # An output of another length may be a list of what was found.
    found = Differences(
        {name: comparison.difference(a, b) for name, a, b in pairs if a.shape == b.shape}
    )
    if not found.differences:
        return Evidence(note=INCOMPARABLE)
    worst = found.worst(reference.allowed if allowed is None else dict.fromkeys(got, allowed))
    if free and not np.isnan(worst.difference):  # in int8 and fp16 each provider rounds its own way
        return Evidence(RANDOM, worst.difference, note="in a reduced precision, not held")
    if not worst.fits:
        raise lane.too_far(worst, "the CPU provider on random inputs")
    return Evidence(RANDOM, worst.difference, allowed=worst.allowed)


def _reference(file: Path, served: CompletedConfig) -> _Reference:
    """Ask the CPU provider twice; raise whatever the model raises on such inputs."""
    run = served.reshapes.around(Session(file, providers.parse(providers.short(CPU))).run)
    names = [spec.name for spec in served.outputs]
    rows = min(2, served.max_batch_size) or 1
    for size in SIZES:
        inputs = random_inputs.random(served.required, rows, free=size)
        try:
            outputs, moved = run(inputs, names), run(_nudged(inputs), names)
        except Exception:
            if size == SIZES[-1]:
                raise
        else:
            break
    floats = {name: array for name, array in outputs.items() if array.dtype.kind == "f"}
    return _Reference(inputs, floats, dict(_bounds(floats, moved)))


def _bounds(
    outputs: Mapping[str, Array], moved: Mapping[str, Array]
) -> Iterator[tuple[str, float]]:
    for name, array in outputs.items():
        scale = float(np.max(np.abs(array[np.isfinite(array)]), initial=0.0))
        allowed = ABSOLUTE + RELATIVE * scale
        same = array.shape == moved[name].shape
        if same and JUMP * comparison.difference(array, moved[name]) <= allowed:  # NaN is not
            yield name, allowed


def _nudged(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Move floats by a little; whole numbers stay as they are."""
    signs = np.random.default_rng(1)
    return {
        name: array * (1 + NUDGE * signs.choice((-1, 1), array.shape)).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in inputs.items()
    }


def _is_reduced(session: Session) -> bool:
    """Whether a model computes in less than fp32, as far as it says."""
    datatypes = {spec.datatype for spec in (*session.inputs, *session.outputs)}
    named = session.metadata.get("crossrun.precision", '"fp32"') != '"fp32"'
    return named or session.quantized or bool(datatypes & {"FP16", "BF16"})
