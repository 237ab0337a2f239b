"""Completes a model's configuration, with batches only if its rows are independent of each other.

Requests share runs, batches are padded and pictures run together only if independence is proven,
or if config.pbtxt vouches for it. The finding is kept for the next load.
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
from crossrun_server.model_config import completion
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.model_config.config import ROWS, ROWS_INDEPENDENT
from crossrun_server.models import warmup
from crossrun_server.proofs import dimension_names, row_probe
from crossrun_server.proofs.random_inputs import Range
from crossrun_server.proofs.row_probe import MIXED, PROVEN, UNKNOWN, Finding
from crossrun_server.proofs.row_trial import HALF_TOLERANCE, TOLERANCE, ProbeSpec
from crossrun_server.runtime.providers import CPU
from crossrun_server.runtime.session import Session
from crossrun_server.runtime.session_options import VERSION
from crossrun_server.tensors.tensor_spec import TensorSpec

log = logging.getLogger(__name__)

PROBE = 1  # raise it when the probe tries other rows, or compares in another way
KIND = "rows"  # of the entries in the disk cache
# Keys of the file's metadata, as JSON.
PRECISION, PREPROCESSING = "crossrun.precision", "crossrun.preprocessing"
REDUCED = {'"int8"', '"fp16"', "int8", "fp16"}  # precisions in which kernels differ more


def complete_with_batches(
    declared: pb.ModelConfig | None, folder: Path, file: Path, sessions: Sequence[Session]
) -> CompletedConfig:
    """Complete a configuration, with batches if rows are independent.

    Args:
        declared: what config.pbtxt says; None if there is none.
        folder: the model's.
        file: that the sessions were made from.
        sessions: one for each list of providers.

    Raises:
        LoadError: see completion.complete; or rows mix, but a max_batch_size is declared.
    """
    first = sessions[0]
    tensors = (*first.inputs, *first.overridable), first.outputs
    served = completion.complete(declared, folder.name, *tensors)
    vouched = _vouched(served.proto)
    # A client may send back the configuration of an earlier load.
    served.proto.parameters.pop(ROWS, None)
    if served.max_batch_size < 2:  # no rows share a run
        return served
    if vouched:
        return _trusting(served)
    found = _found(served, folder, file, sessions)
    if found.state == PROVEN:
        return _telling(served, f"independent: {found.reason}")
    if declared is None:
        return _unbatched(completion.complete(None, folder.name, *tensors, batches=False), found)
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
    """Return the worst finding of all sessions and of the names of the first sizes."""
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
    """Return what was found of a session's rows earlier, or find it now."""
    spec = _probe_spec(served, folder, session)
    key = _key(file, session, spec)
    if cached := _read(key):
        return cached
    started = time.perf_counter()
    found = row_probe.probe(served.reshapes.around(session.attempt), spec)
    took = 1e3 * (time.perf_counter() - started)
    log.info("%s: looked in %.0f ms whether rows mix: %s", folder.name, took, found.reason)
    if found.state != UNKNOWN:  # which may change
        disk_cache.write(KIND, key, json.dumps([found.state, found.reason]))
    return found


def _probe_spec(served: CompletedConfig, folder: Path, session: Session) -> ProbeSpec:
    return ProbeSpec(
        inputs=served.inputs,
        outputs=served.outputs,
        most=served.max_batch_size,
        ranges=_ranges(session.metadata, served.required),
        given=tuple(warmup.requests(served, folder)),
        tolerance=HALF_TOLERANCE if _may_be_reduced(session) else TOLERANCE,
        numbers=_numbers(served),
    )


def _numbers(served: CompletedConfig) -> frozenset[str]:
    """The outputs whose values are numbers of classes."""
    found = served.detection_outputs
    return frozenset([found.parts["classes"]] if found and "classes" in found.parts else [])


def _may_be_reduced(session: Session) -> bool:
    """Whether it may compute in less than fp32, as other providers than the CPU's may choose to."""
    elsewhere = session.assignment.nodes.keys() - {CPU}
    return bool(elsewhere) or session.quantized or session.metadata.get(PRECISION) in REDUCED


def _ranges(metadata: Mapping[str, str], inputs: Iterable[TensorSpec]) -> dict[str, Range]:
    """Return the ranges of pixels after preprocessing, by input, if the file says how it scales."""
    pictures = [spec for spec in inputs if len(spec.shape) == 4 and spec.datatype != "UINT8"]
    try:
        said = json.loads(metadata.get(PREPROCESSING, ""))
        scale, offset = np.array(said["scale"]), np.array(said["offset"])
        ends = np.concatenate([np.ravel(pixel * scale + offset) for pixel in (0.0, 255.0)])
    except (ValueError, KeyError, TypeError):  # errors in it are reported where pictures are read
        return {}
    return {spec.name: Range(float(ends.min()), float(ends.max())) for spec in pictures}


def _key(file: Path, session: Session, spec: ProbeSpec) -> str:
    given = [{name: array.tolist() for name, array in row.items()} for row in spec.given]
    session_key = repr(session.request), str(session.assignment), VERSION
    return disk_cache.key(
        file,
        disk_cache.processor(),
        disk_cache.beside(file),
        PROBE,
        *session_key,
        replace(spec, given=()),
        given,
    )


def _read(key: str) -> Finding | None:
    """Read a finding from the disk cache; None if there is none that can be read."""
    try:
        state, reason = json.loads(disk_cache.read(KIND, key) or "")
    except (ValueError, TypeError):
        return None
    return Finding(state, reason) if state in (PROVEN, MIXED) else None
