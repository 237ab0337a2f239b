"""Runs the proof of a model in every lane before it serves, as callers' requests will be run.

A model without a proof is held against the CPU provider on random inputs, where another provider
computes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crossrun_server.errors import LoadError
from crossrun_server.model_config import session_config
from crossrun_server.model_config.config import CompletedConfig
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.proofs import evidence, proof_file, random_inputs
from crossrun_server.proofs.evidence import RANDOM, Differences, Evidence, Worst
from crossrun_server.proofs.proof_file import Proof
from crossrun_server.runtime import defaults, providers
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.runtime.providers import CPU
from crossrun_server.runtime.session import Session
from crossrun_server.scheduling.batching import Run
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

Rows = tuple[int, ...]

# Of answers to random inputs, whose range nobody knows: so much, and so much of the largest number
# in the output. In fp32 providers differ by a hundredth of it, in bf16 by several times as much.
ABSOLUTE, RELATIVE = 1e-4, 1e-3
# A nudge moves inputs by about what providers differ in; an output that jumps then proves nothing.
NUDGE, JUMP = 1e-6, 10.0
INCOMPARABLE = "its outputs cannot be compared on random inputs"
SIZES = (32, 1)  # what free sizes become, one after the other, until the model takes them


@dataclass(frozen=True)
class _Lane:
    """What is tried: a lane's run, and what computes it."""

    run: Run
    assignment: Assignment

    @property
    def provider(self) -> str:
        """The provider that is in question: the first that is not the CPU's, where one is."""
        return next((name for name in self.assignment.nodes if name != CPU), CPU)


def prove(file: Path, opened: OpenedLanes, default: float | None) -> tuple[Evidence, ...]:
    """Run the proof beside a model in each of its lanes.

    Args:
        file: the model's.
        opened: its lanes, warm.
        default: the largest difference that is allowed, where its configuration names none; None
            leaves that to the proof.

    Returns:
        What was found, of each session.

    Raises:
        LoadError: the answers are further off than is allowed, or the proof is damaged or that of
            another model.
    """
    found, allowed = proof_file.read(file), _tolerance(opened.served, default)
    pairs = zip(opened.lanes, opened.sessions, strict=True)
    lanes = [_Lane(lane.run, session.assignment) for lane, session in pairs]
    if found is not None:
        told = _by_proof(lanes, opened, found, allowed)
    elif all(session.assignment.nodes.keys() <= {CPU} for session in opened.sessions):
        told = [Evidence() for _ in lanes]
    else:
        told = _by_cpu(lanes, file, opened, allowed)
    return tuple(
        replace(one, asked=lane.assignment.asked) for one, lane in zip(told, lanes, strict=True)
    )


def _tolerance(served: CompletedConfig, default: float | None) -> float | None:
    key, parameters = session_config.TOLERANCE, served.proto.parameters
    if key not in parameters:
        return default
    return proof_file.tolerance(parameters[key].string_value, f"parameters {key!r}")


# --- With a proof ------------------------------------------------------------------------------


def _by_proof(
    lanes: Sequence[_Lane], opened: OpenedLanes, held: Proof, allowed: float | None
) -> list[Evidence]:
    inputs = _inputs(held, opened.served, opened.sessions[0])
    one_by_one, together = _groups(held, opened.served, opened.sessions[0])
    names = (spec.name for spec in opened.served.outputs)
    left_out = tuple(name for name in names if name not in held.outputs)
    told = []
    for lane in lanes:
        found = _found(lane.run, held, inputs, [*one_by_one, *together], opened.served)
        told.append(replace(_judged(lane, held, found, allowed), left_out=left_out))
    return told


def _judged(lane: _Lane, held: Proof, found: Differences, allowed: float | None) -> Evidence:
    """Tell what was found; raises LoadError where that is too far off.

    Who sets a tolerance is told the agreement, and not held to it.
    """
    bounds = held.max_diff if allowed is None else dict.fromkeys(held.max_diff, allowed)
    worst = found.worst(bounds)
    if not worst.fits:
        raise LoadError(_too_far(lane, worst, f"the original, proven in {held.precision}"))
    agreement = found.agreement
    if allowed is None and agreement is not None and agreement < held.min_agreement:
        raise LoadError(
            f"{_who(lane)} gives the original's answers in {agreement:.2%} of the proof, "
            f"required are {held.min_agreement:.2%} in {held.precision}; {_how(lane)}"
        )
    return Evidence(
        held.origin, worst.difference, agreement, worst.allowed, held.precision, rows=held.rows
    )


def _too_far(lane: _Lane, worst: Worst, against: str) -> str:
    if np.isnan(worst.difference):
        return f"{_who(lane)} gives what is no number in {worst.output!r}; {_how(lane)}"
    return (
        f"{_who(lane)} is off by {worst.difference:.2g} in {worst.output!r} from {against}, "
        f"allowed is {worst.allowed:.2g}; {_how(lane)}"
    )


def _who(lane: _Lane) -> str:
    asked = lane.assignment.asked
    return f"{lane.provider} in {asked}" if asked else lane.provider


def _how(lane: _Lane) -> str:
    """How to have it nevertheless."""
    option = defaults.on_purpose(lane.provider)
    return (
        "for bf16, TF32 or fp16 on purpose allow more by parameters 'proof_tolerance' in "
        f"config.pbtxt or by --proof-tolerance{f', and give {option}' if option else ''}"
    )


def _found(
    run: Run,
    held: Proof,
    inputs: Mapping[str, Array],
    groups: Sequence[Rows],
    served: CompletedConfig,
) -> Differences:
    total = Differences()
    for rows in groups:
        given = {name: _as_called(name, inputs[name][list(rows)], served) for name in inputs}
        try:
            got = run(given, held.wanted)
        except Exception as error:  # onnxruntime raises a class of its own per status code
            reason = providers.plain(str(error))
            raise LoadError(f"the inputs of {proof_file.FILE} cannot be run: {reason}") from error
        total.add(evidence.compare(held, rows, got))
    return total


def _groups(
    held: Proof, served: CompletedConfig, session: Session
) -> tuple[list[Rows], list[Rows]]:
    """The rows of each run: one by one, and all together where the model takes batches."""
    shapes = {spec.name: spec.shape for spec in served.inputs}
    reshaped = (spec for spec in session.inputs if spec.name in served.reshapes.inputs)
    shapes |= {spec.name: spec.shape for spec in reshaped}
    # A model that takes so many rows and no other number gets them.
    size = max([1, *(shapes[name][0] for name in held.inputs if shapes.get(name))])
    every = tuple(range(held.rows))
    starts = range(0, held.rows, size)
    groups = [tuple(np.resize(every[start : start + size], size).tolist()) for start in starts]
    together = every[: served.max_batch_size] if served.independent else ()
    return groups, [together] if len(together) > 1 else []


def _inputs(held: Proof, served: CompletedConfig, session: Session) -> Mapping[str, Array]:
    """The inputs of a proof; raises LoadError where the model takes or gives others."""
    specs = {spec.name: spec for spec in (*session.inputs, *session.overridable)}
    needed = {spec.name for spec in served.required}
    there = {"input": set(specs), "output": {spec.name for spec in served.outputs}}
    for kind, arrays in (("input", held.inputs), ("output", held.outputs)):
        if strays := arrays.keys() - there[kind]:
            names = ", ".join(sorted(there[kind]))
            raise LoadError(
                f"{proof_file.stale()}: it has the {kind} {sorted(strays)[0]!r}, "
                f"the model has {names}"
            )
    if missing := needed - held.inputs.keys():
        raise LoadError(f"{proof_file.stale()}: it lacks the input {sorted(missing)[0]!r}")
    for name, array in held.inputs.items():
        _check_input(specs[name], array)
    return held.inputs


def _check_input(spec: TensorSpec, array: Array) -> None:
    dtype = DTYPES[spec.datatype]
    sizes = zip(spec.shape[1:], array.shape[1:], strict=False)
    fits = len(spec.shape) == array.ndim and all(want in (-1, have) for want, have in sizes)
    if array.dtype != dtype or not fits:
        raise LoadError(
            f"{proof_file.stale()}: its input {spec.name!r} is {array.dtype} {list(array.shape)}, "
            f"the model takes {spec.datatype} {list(spec.shape)}"
        )


def _as_called(name: str, array: Array, served: CompletedConfig) -> Array:
    """An input as callers give it: config.pbtxt may say another shape than the graph."""
    spec = next((spec for spec in served.inputs if spec.name == name), None)
    if spec is None or spec.accepts(array.shape):
        return array
    rows = (len(array),) if served.max_batch_size else ()
    shape = rows + tuple(spec.shape[len(rows) :])
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise LoadError(
            f"{proof_file.stale()}: its input {name!r} is {list(array.shape)}, "
            f"config.pbtxt says {list(spec.shape)}"
        ) from error


# --- Without one -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Answers:
    """What the CPU provider says, and how far it moves where the inputs hardly do."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]  # floats
    allowed: Mapping[str, float]  # by output; none for those that jump


def _by_cpu(
    lanes: Sequence[_Lane], file: Path, opened: OpenedLanes, allowed: float | None
) -> list[Evidence]:
    try:
        answers = _answers(file, opened.served)
    except Exception as error:  # noqa: BLE001 - whatever a model raises on inputs that mean nothing
        why = f"the CPU provider refuses random inputs: {providers.plain(str(error))}"
        return [Evidence(note=why) for _ in lanes]
    free = allowed is None and any(map(_is_reduced, opened.sessions))
    return [_as_cpu(lane, answers, allowed, free) for lane in lanes]


def _as_cpu(lane: _Lane, answers: _Answers, allowed: float | None, free: bool) -> Evidence:
    if not answers.allowed:
        return Evidence(note=INCOMPARABLE)
    try:
        got = lane.run(dict(answers.inputs), list(answers.allowed))
    except Exception as error:  # noqa: BLE001 - as above
        reason = providers.plain(str(error))
        return Evidence(note=f"{lane.provider} refuses random inputs: {reason}")
    pairs = ((name, answers.outputs[name], got[name]) for name in answers.allowed)
    # An output of another length may count what was found.
    found = Differences({n: evidence.difference(a, b) for n, a, b in pairs if a.shape == b.shape})
    if not found.differences:
        return Evidence(note=INCOMPARABLE)
    worst = found.worst(answers.allowed if allowed is None else dict.fromkeys(got, allowed))
    if free and not np.isnan(worst.difference):  # int8 and fp16 differ by how each provider rounds
        return Evidence(RANDOM, worst.difference, note="in a reduced precision, not held")
    if not worst.fits:
        raise LoadError(_too_far(lane, worst, "the CPU provider on random inputs"))
    return Evidence(RANDOM, worst.difference, None, worst.allowed)


def _answers(file: Path, served: CompletedConfig) -> _Answers:
    """Ask the CPU provider twice; raises whatever the model does for want of right inputs."""
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
    return _Answers(inputs, floats, dict(_bounds(floats, moved)))


def _bounds(
    outputs: Mapping[str, Array], moved: Mapping[str, Array]
) -> Iterator[tuple[str, float]]:
    for name, array in outputs.items():
        scale = float(np.max(np.abs(array[np.isfinite(array)]), initial=0.0))
        allowed = ABSOLUTE + RELATIVE * scale
        same = array.shape == moved[name].shape
        if same and JUMP * evidence.difference(array, moved[name]) <= allowed:  # NaN is not
            yield name, allowed


def _nudged(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The same inputs but for a little; whole numbers stay as they are."""
    signs = np.random.default_rng(1)
    return {
        name: array * (1 + NUDGE * signs.choice((-1, 1), array.shape)).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in inputs.items()
    }


def _is_reduced(session: Session) -> bool:
    """Whether a model computes in less than fp32, as far as it tells."""
    datatypes = {spec.datatype for spec in (*session.inputs, *session.outputs)}
    named = session.metadata.get("crossrun.precision", '"fp32"') != '"fp32"'
    return named or session.quantized or bool(datatypes & {"FP16", "BF16"})
