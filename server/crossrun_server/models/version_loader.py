"""One version of a model, from its file to what answers requests: opened, warmed up, proven.

Knows the model's folder, and no other versions.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from crossrun.oip import model_config_pb2 as pb
from crossrun_server import cores
from crossrun_server.errors import LoadError
from crossrun_server.model_config import probabilities, session_config
from crossrun_server.model_config.config import CompletedConfig
from crossrun_server.models import answer_check, independence, labels, lanes
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.models.model import Instruments, Model
from crossrun_server.models.response_cache import ModelCache, ResponseCache
from crossrun_server.models.warmup import noting, warm_up
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.runtime.providers import ProviderRequest
from crossrun_server.scheduling.batching import Tensors
from crossrun_server.scheduling.scheduler import Scheduler
from crossrun_server.telemetry.request_record import Observer
from crossrun_server.telemetry.statistics import ModelStatistics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerContext:
    """What the models of a server have in common."""

    default: ProviderRequest  # the execution providers of models that name none
    cache: ResponseCache | None = None  # of the answers of models that ask for it
    observers: tuple[Observer, ...] = ()  # are told of each request once it is over
    cores: int = 0  # threads of sessions that ask for no number; 0: one for each core
    proof_tolerance: float | None = None  # of models that name none; None: the proof's own


@dataclass(frozen=True)
class _Tried:
    """A version whose lanes have run."""

    opened: OpenedLanes
    served: CompletedConfig
    labels: Mapping[str, tuple[str, ...]]
    assignments: tuple[Assignment, ...]


def open_version(
    folder: Path, version: int, file: Path, declared: pb.ModelConfig | None, shared: ServerContext
) -> Model:
    """Open a version, and run it before anybody asks.

    Args:
        folder: the model's.
        version: its number.
        file: of the version.
        declared: the model's configuration; None where there is none.
        shared: what it has in common with other models.

    Raises:
        LoadError: it cannot run, or not as it was proven; the message names the version.
    """
    started = time.perf_counter()
    try:
        tried = _tried(folder, file, declared, shared)
    except LoadError as error:
        raise LoadError(f"version {version}: {error}") from error
    session_config.write(tried.served.proto, tried.assignments, tried.opened.plan)
    title = f"{folder.name} version {version}"
    _tell(title, tried.opened, time.perf_counter() - started)
    log.info("%s: %s", title, tried.served.proto.parameters[session_config.PROVEN].string_value)
    return _model(str(version), tried, shared)


def completing(declared: pb.ModelConfig | None, folder: Path, file: Path) -> lanes.Complete:
    """What completes a configuration once sessions tell what the model takes and gives."""
    return partial(independence.complete, declared, folder, file)


def _tried(
    folder: Path, file: Path, declared: pb.ModelConfig | None, shared: ServerContext
) -> _Tried:
    placed = session_config.read(declared or pb.ModelConfig(), shared.default)
    there = shared.cores or cores.available()
    opened = lanes.open_lanes(file, placed, there, completing(declared, folder, file))
    metadata = opened.sessions[0].metadata
    served = _settled(opened.served, metadata)
    named, answers = labels.read(folder, served), Tensors()
    labels.warn_of_others(named, folder.name, metadata)
    probabilities.check(served.scores, served.outputs, named)
    for lane in opened.lanes:
        warm_up(noting(lane.run, answers), served, folder, opened.sizes)
    labels.check_answers(named, served, answers)
    told = answer_check.prove(file, opened, shared.proof_tolerance)
    pairs = zip(opened.sessions, told, strict=True)
    assignments = tuple(replace(session.assignment, evidence=one) for session, one in pairs)
    return _Tried(opened, _doubted(served, answers), named, assignments)


def _model(version: str, tried: _Tried, shared: ServerContext) -> Model:
    opened, served = tried.opened, tried.served
    instruments = Instruments(ModelStatistics(), _part_of(shared.cache, served), shared.observers)
    policy = served.policy
    if opened.plan and policy.merges_freely:
        policy = replace(policy, merge_rows=opened.plan.batch)
    scheduler = Scheduler(opened.lanes, policy, instruments.statistics.executed, opened.cores)
    metadata = opened.sessions[0].metadata
    return Model(version, served, tried.labels, metadata, scheduler, tried.assignments, instruments)


def _settled(served: CompletedConfig, metadata: Mapping[str, str]) -> CompletedConfig:
    """With what the file itself says of its scores."""
    return replace(served, scores=probabilities.settle(served.scores, metadata))


def _doubted(served: CompletedConfig, answers: Tensors) -> CompletedConfig:
    """With what answers at load say against scores of which nobody says what they are."""
    doubts = probabilities.doubts(served.outputs, answers)
    return replace(served, scores=replace(served.scores, doubts=doubts))


def _part_of(cache: ResponseCache | None, served: CompletedConfig) -> ModelCache | None:
    if not served.proto.response_cache.enable:
        return None
    if cache is None:
        text = "%s: response_cache in config.pbtxt has no effect without --cache-config"
        log.warning(text, served.proto.name)
        return None
    return ModelCache(cache)


def _tell(title: str, opened: OpenedLanes, seconds: float) -> None:
    assignments = [session.assignment for session in opened.sessions]
    for reason in {why: None for one in assignments for why in one.skipped.values()}:
        log.warning("%s was asked to run on %s: %s", title, assignments[0].requested, reason)
    if opened.sizes:
        log.info("%s runs batches of %s", title, ", ".join(map(str, opened.sizes)))
    if opened.plan:
        log.info("loaded %s on %s, plan %s, in %.2f s", title, assignments[0], opened.plan, seconds)
        return
    for assignment in assignments:
        log.info("loaded %s on %s in %.2f s", title, assignment, seconds)
