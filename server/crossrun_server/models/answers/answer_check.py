"""Checks a model's answers before it serves, in every lane, as callers' requests will be run.

A model with a proof is compared with the proof. A model without one is compared with the CPU
provider, if another provider computes it.
"""

from dataclasses import replace
from pathlib import Path

from crossrun_server.model_config import session_config
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models.answers import cpu_check, proof_check
from crossrun_server.models.answers.checked_lane import CheckedLane
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.proofs import proof_file
from crossrun_server.proofs.evidence import Evidence
from crossrun_server.runtime.providers import CPU


def check(file: Path, opened: OpenedLanes, tolerance: float | None) -> tuple[Evidence, ...]:
    """Check every lane of a model.

    Args:
        file: the model's.
        opened: its lanes, warmed up.
        tolerance: the largest allowed difference, if the model's configuration names none; with
            None the proof says how large it may be.

    Returns:
        What was found of each session.

    Raises:
        LoadError: the answers are further off than is allowed, or the proof is damaged or belongs
            to another model.
    """
    proof, allowed = proof_file.read(file), _tolerance(opened.served, tolerance)
    pairs = zip(opened.lanes, opened.sessions, strict=True)
    lanes = [CheckedLane(lane.run, session.assignment) for lane, session in pairs]
    if proof is not None:
        found = proof_check.check(lanes, opened, proof, allowed)
    elif all(lane.assignment.nodes.keys() <= {CPU} for lane in lanes):
        found = [Evidence() for _ in lanes]
    else:
        found = cpu_check.check(lanes, file, opened, allowed)
    return tuple(
        replace(evidence, asked_precision=lane.assignment.asked_precision)
        for evidence, lane in zip(found, lanes, strict=True)
    )


def _tolerance(served: CompletedConfig, default: float | None) -> float | None:
    key, parameters = session_config.TOLERANCE, served.proto.parameters
    if key not in parameters:
        return default
    return proof_file.tolerance(parameters[key].string_value, f"parameters {key!r}")
