"""What it means for a model's configuration whether its rows are independent of each other.

Requests share runs, batches are padded and pictures go together only where that is proven or
config.pbtxt vouches for it. What was found is kept for the next load.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crossrun.oip import model_config_pb2 as pb
from crossrun_server import disk_cache
from crossrun_server.errors import LoadError
from crossrun_server.model_config import config
from crossrun_server.model_config.config import ROWS, ROWS_INDEPENDENT, CompletedConfig
from crossrun_server.models import warmup
from crossrun_server.plans import plan_cache
from crossrun_server.proofs import dimension_names, row_probe
from crossrun_server.proofs.random_inputs import Range
from crossrun_server.proofs.row_probe import (
    HALF_TOLERANCE,
    MIXED,
    PROVEN,
    TOLERANCE,
    UNKNOWN,
    Finding,
    ProbeSpec,
)
from crossrun_server.runtime.providers import CPU
from crossrun_server.runtime.session import VERSION, Session
from crossrun_server.tensors.tensor_spec import TensorSpec

log = logging.getLogger(__name__)

PROBE = 1  # to be raised with each change of what is tried, or of what counts as equal
KIND = "rows"  # of what is kept
# Keys of the file's metadata, as JSON.
PRECISION, PREPROCESSING = "crossrun.precision", "crossrun.preprocessing"
REDUCED = {'"int8"', '"fp16"', "int8", "fp16"}  # precisions in which kernels differ by more


def complete(
    declared: pb.ModelConfig | None, folder: Path, file: Path, sessions: Sequence[Session]
) -> CompletedConfig:
    """Complete a configuration, with batches as far as rows are independent.

    Args:
        declared: what config.pbtxt says; None without one.
        folder: the model's.
        file: what the sessions are made of.
        sessions: one for each way in which the model is placed.

    Raises:
        LoadError: see config.complete; or rows mix, and a max_batch_size is declared.
    """
    first = sessions[0]
    tensors = (*first.inputs, *first.overridable), first.outputs
    served = config.complete(declared, folder.name, *tensors)
    vouched = _vouched(served.proto)
    served.proto.parameters.pop(ROWS, None)  # of the config of another load
    if served.max_batch_size < 2:  # nobody shares a run
        return served
    if vouched:
        return _trusting(served)
    found = _found(served, folder, file, sessions)
    if found.state == PROVEN:
        return _telling(served, f"independent: {found.reason}")
    if declared is None:
        return _unbatched(config.complete(None, folder.name, *tensors, batches=False), found)
    if found.state == MIXED:
        raise LoadError(
            f"max_batch_size is {served.max_batch_size}, but rows are {_said(found)}; set it to 0, "
            f"so that each request runs alone, or parameters {ROWS_INDEPENDENT!r} to 'true' if you "
            "know better"
        )
    return _unshared(served, found)


def _trusting(served: CompletedConfig) -> CompletedConfig:
    told = f"independent: {ROWS_INDEPENDENT} in config.pbtxt says so, and nothing was tried"
    log.warning("%s: rows are taken to be %s", served.proto.name, told)
    return _telling(served, told)


def _unbatched(served: CompletedConfig, found: Finding) -> CompletedConfig:
    told = _said(found)
    log.warning("%s: max_batch_size is 0, for rows are %s", served.proto.name, told)
    return _telling(served, f"{told}; so max_batch_size is 0")


def _unshared(served: CompletedConfig, found: Finding) -> CompletedConfig:
    told = (
        f"{_said(found)}; so requests share no run, unless parameters {ROWS_INDEPENDENT!r} is "
        "'true'"
    )
    log.warning("%s: that rows are independent is %s", served.proto.name, told)
    alone = replace(served, policy=replace(served.policy, merge=False), independent=False)
    return _telling(alone, told)


def _said(found: Finding) -> str:
    return f"{'not independent' if found.state == MIXED else 'not proven'}: {found.reason}"


def _vouched(proto: pb.ModelConfig) -> bool:
    if ROWS_INDEPENDENT not in proto.parameters:
        return False
    value = proto.parameters[ROWS_INDEPENDENT].string_value
    if value != "true":
        raise LoadError(f"parameters {ROWS_INDEPENDENT!r} is {value!r}, expected 'true' or nothing")
    return True


def _telling(served: CompletedConfig, told: str) -> CompletedConfig:
    served.proto.parameters[ROWS].string_value = told
    return served


def _found(
    served: CompletedConfig, folder: Path, file: Path, sessions: Sequence[Session]
) -> Finding:
    """The worst of what each session says, and of what the file calls its sizes."""
    findings = [_of(served, folder, file, session) for session in sessions]
    if len(sessions) > 1:
        findings = [
            replace(finding, reason=f"{finding.reason} (on {session.assignment})")
            for session, finding in zip(sessions, findings, strict=True)
        ]
    if named := dimension_names.disagreement((*served.required, *served.outputs)):
        findings.append(Finding(UNKNOWN, named))
    return max(findings, key=lambda finding: (PROVEN, UNKNOWN, MIXED).index(finding.state))


def _of(served: CompletedConfig, folder: Path, file: Path, session: Session) -> Finding:
    """What was found of a session's rows before, or is found now."""
    asked = _asked(served, folder, session)
    key = _key(file, session, asked)
    if kept := _read(key):
        return kept
    started = time.perf_counter()
    found = row_probe.probe(served.reshapes.around(session.attempt), asked)
    took = 1e3 * (time.perf_counter() - started)
    log.info("%s: looked in %.0f ms whether rows mix: %s", folder.name, took, found.reason)
    if found.state != UNKNOWN:  # for that may be of the moment
        disk_cache.write(KIND, key, json.dumps([found.state, found.reason]))
    return found


def _asked(served: CompletedConfig, folder: Path, session: Session) -> ProbeSpec:
    return ProbeSpec(
        served.inputs,
        served.outputs,
        served.max_batch_size,
        _ranges(session.metadata, served.required),
        tuple(warmup.requests(served, folder)),
        HALF_TOLERANCE if _may_be_reduced(session) else TOLERANCE,
        frozenset([served.detection.classes] if served.detection else []),
    )


def _may_be_reduced(session: Session) -> bool:
    """Whether fewer bits than fp32's may compute it; other providers choose that for themselves."""
    elsewhere = session.assignment.nodes.keys() - {CPU}
    return bool(elsewhere) or session.quantized or session.metadata.get(PRECISION) in REDUCED


def _ranges(metadata: Mapping[str, str], inputs: Iterable[TensorSpec]) -> dict[str, Range]:
    """What the file says of the floats that pictures are made into, by input."""
    pictures = [spec for spec in inputs if len(spec.shape) == 4 and spec.datatype != "UINT8"]
    try:
        said = json.loads(metadata.get(PREPROCESSING, ""))
        scale, offset = np.array(said["scale"]), np.array(said["offset"])
        ends = np.concatenate([np.ravel(pixel * scale + offset) for pixel in (0.0, 255.0)])
    except (ValueError, KeyError, TypeError):  # others read it, and say what is wrong with it
        return {}
    return {spec.name: Range(float(ends.min()), float(ends.max())) for spec in pictures}


def _key(file: Path, session: Session, asked: ProbeSpec) -> str:
    given = [{name: array.tolist() for name, array in row.items()} for row in asked.given]
    placed = repr(session.request), str(session.assignment), VERSION
    return plan_cache.key(
        file, disk_cache.beside(file), PROBE, *placed, replace(asked, given=()), given
    )


def _read(key: str) -> Finding | None:
    """What was kept; None where there is nothing, or nothing that can be read."""
    try:
        state, reason = json.loads(disk_cache.read(KIND, key) or "")
    except (ValueError, TypeError):
        return None
    return Finding(state, reason) if state in (PROVEN, MIXED) else None
