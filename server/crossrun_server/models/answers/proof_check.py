"""Runs a model's proof in each of its lanes, one row at a time and in a batch.

Knows the shapes that callers use, which may differ from the graph's.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crossrun_server.errors import LoadError
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models.answers.checked_lane import CheckedLane
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.proofs import comparison, proof_file
from crossrun_server.proofs.comparison import Differences
from crossrun_server.proofs.evidence import Evidence
from crossrun_server.proofs.proof_file import Proof
from crossrun_server.runtime import ort_errors
from crossrun_server.runtime.session import Session
from crossrun_server.scheduling.batching import Run
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

Rows = tuple[int, ...]


def check(
    lanes: Sequence[CheckedLane], opened: OpenedLanes, proof: Proof, allowed: float | None
) -> list[Evidence]:
    """Compare the answers of every lane with the proof.

    Args:
        lanes: what runs.
        opened: the same lanes, with the model's sessions and configuration.
        proof: the expected answers.
        allowed: the largest difference of any output; None for what the proof allows.

    Raises:
        WrongAnswers: the answers are too far off.
        LoadError: the proof belongs to another model.
    """
    served, session = opened.served, opened.sessions[0]
    _check_names(proof, served, session)
    groups = _groups(proof, served, session)
    names = (spec.name for spec in served.outputs)
    left_out = tuple(name for name in names if name not in proof.outputs)
    return [
        replace(_judged(lane, proof, _run(lane.run, proof, groups, served), allowed),
                left_out=left_out)
        for lane in lanes
    ]  # fmt: skip


def _judged(lane: CheckedLane, proof: Proof, found: Differences, allowed: float | None) -> Evidence:
    """Return what was found, or raise WrongAnswers if it is too far off.

    If somebody set a tolerance, the agreement is reported but not required.
    """
    bounds = proof.max_diff if allowed is None else dict.fromkeys(proof.max_diff, allowed)
    worst = found.worst(bounds)
    if not worst.fits:
        raise lane.too_far(worst, f"the original, proven in {proof.precision}")
    agreement = found.agreement
    if allowed is None and agreement is not None and agreement < proof.min_agreement:
        raise lane.too_few(worst, agreement, proof)
    return Evidence(
        origin=proof.origin,
        difference=worst.difference,
        agreement=agreement,
        allowed=worst.allowed,
        precision=proof.precision,
        rows=proof.rows,
    )


def _run(run: Run, proof: Proof, groups: Sequence[Rows], served: CompletedConfig) -> Differences:
    total = Differences()
    for rows in groups:
        inputs = {
            name: _as_called(name, array[list(rows)], served)
            for name, array in proof.inputs.items()
        }
        try:
            got = run(inputs, proof.wanted)
        except Exception as error:  # onnxruntime raises a class of its own per status code
            reason = ort_errors.plain(str(error))
            raise LoadError(f"the inputs of {proof_file.FILE} cannot be run: {reason}") from error
        total.add(comparison.compare(proof, rows, got))
    return total


def _groups(proof: Proof, served: CompletedConfig, session: Session) -> list[Rows]:
    """Return the rows of each run: one by one, then all together if the model takes batches."""
    shapes = {spec.name: spec.shape for spec in served.inputs}
    reshaped = (spec for spec in session.inputs if spec.name in served.reshapes.inputs)
    shapes |= {spec.name: spec.shape for spec in reshaped}
    # A model may take a fixed number of rows only.
    size = max([1, *(shapes[name][0] for name in proof.inputs if shapes.get(name))])
    every = tuple(range(proof.rows))
    starts = range(0, proof.rows, size)
    groups = [tuple(np.resize(every[start : start + size], size).tolist()) for start in starts]
    together = every[: served.max_batch_size] if served.independent else ()
    return [*groups, together] if len(together) > 1 else groups


def _check_names(proof: Proof, served: CompletedConfig, session: Session) -> None:
    """Raise LoadError if the model has other inputs or outputs than the proof."""
    specs = {spec.name: spec for spec in (*session.inputs, *session.overridable)}
    needed = {spec.name for spec in served.required}
    there = {"input": set(specs), "output": {spec.name for spec in served.outputs}}
    for kind, arrays in (("input", proof.inputs), ("output", proof.outputs)):
        if strays := arrays.keys() - there[kind]:
            names = ", ".join(sorted(there[kind]))
            raise LoadError(
                f"{proof_file.stale()}: it has the {kind} {sorted(strays)[0]!r}, "
                f"the model has {names}"
            )
    if missing := needed - proof.inputs.keys():
        raise LoadError(f"{proof_file.stale()}: it lacks the input {sorted(missing)[0]!r}")
    for name, array in proof.inputs.items():
        _check_input(specs[name], array)


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
    """Return an input in the shape that callers use, which config.pbtxt may have changed."""
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
