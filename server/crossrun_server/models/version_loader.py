"""Loads one version of a model: opens it, warms it up, and checks its answers.

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
from crossrun_server.model_config import probabilities, scores, session_config
from crossrun_server.model_config.completion import CompletedConfig
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
from crossrun_server.telemetry.statistics import Statistics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerContext:
    """What a server gives to each of its models."""

    default: ProviderRequest  # the execution providers of models that name none
    cache: ResponseCache | None = None  # for models that ask for it
    observers: tuple[Observer, ...] = ()  # are told of each request once it is over
    cores: int = 0  # threads of sessions that ask for no number; 0: one for each core
    proof_tolerance: float | None = None  # of models that name none; None: the proof's own


@dataclass(frozen=True)
class _Prepared:
    """A version that has been warmed up and checked."""

    opened: OpenedLanes
    served: CompletedConfig
    labels: Mapping[str, tuple[str, ...]]
    assignments: tuple[Assignment, ...]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The ONNX file's own."""
        return self.opened.sessions[0].metadata


def load_version(
    folder: Path, version: int, file: Path, declared: pb.ModelConfig | None, context: ServerContext
) -> Model:
    """Load a version, and run it before anybody asks.

    Args:
        folder: the model's.
        version: its number.
        file: of the version.
        declared: the model's configuration; None if there is none.
        context: what the server gives to each model.

    Raises:
        LoadError: it cannot run, or not as it was proven; the message names the version.
    """
    started = time.perf_counter()
    try:
        prepared = _prepare(folder, file, declared, context)
    except LoadError as error:
        raise LoadError(f"version {version}: {error}") from error
    session_config.write(prepared.served.proto, prepared.assignments, prepared.opened.plan)
    title = f"{folder.name} version {version}"
    _log_load(title, prepared.opened, time.perf_counter() - started)
    evidence = prepared.served.proto.parameters[session_config.PROVEN].string_value
    log.info("%s: %s", title, evidence)
    return _model(str(version), prepared, context)


def completing(declared: pb.ModelConfig | None, folder: Path, file: Path) -> lanes.Complete:
    """Return what completes a configuration once sessions say what the model takes and returns."""
    return partial(independence.complete_with_batches, declared, folder, file)


def _prepare(
    folder: Path, file: Path, declared: pb.ModelConfig | None, context: ServerContext
) -> _Prepared:
    wanted = session_config.read(declared or pb.ModelConfig(), context.default)
    core_count = context.cores or cores.available()
    opened = lanes.open_lanes(file, wanted, core_count, completing(declared, folder, file))
    served = _with_declared_scores(opened.served, opened.sessions[0].metadata)
    named = _read_labels(folder, served, opened.sessions[0].metadata)
    answers = _warm_up(opened, served, folder)
    labels.check_answers(named, served, answers)
    evidence = answer_check.check(file, opened, context.proof_tolerance)
    pairs = zip(opened.sessions, evidence, strict=True)
    assignments = tuple(replace(session.assignment, evidence=one) for session, one in pairs)
    return _Prepared(opened, _with_doubts(served, answers), named, assignments)


def _read_labels(
    folder: Path, served: CompletedConfig, metadata: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    named = labels.read(folder, served)
    labels.warn_of_others(named, folder.name, metadata)
    scores.check(served.scores, served.outputs, named)
    return named


def _warm_up(opened: OpenedLanes, served: CompletedConfig, folder: Path) -> Tensors:
    """Run every lane, and return the last answers."""
    answers = Tensors()
    for lane in opened.lanes:
        warm_up(noting(lane.run, answers), served, folder, opened.sizes)
    return answers


def _model(version: str, prepared: _Prepared, context: ServerContext) -> Model:
    opened, served = prepared.opened, prepared.served
    statistics = Statistics()
    policy = served.policy
    if opened.plan and policy.merges_freely:
        policy = replace(policy, merge_rows=opened.plan.batch)
    return Model(
        version=version,
        config=served,
        labels=prepared.labels,
        metadata=prepared.metadata,
        scheduler=Scheduler(opened.lanes, policy, observe=statistics.executed, cores=opened.cores),
        assignments=prepared.assignments,
        instruments=Instruments(statistics, _cache_of(context.cache, served), context.observers),
    )


def _with_declared_scores(served: CompletedConfig, metadata: Mapping[str, str]) -> CompletedConfig:
    """Add what the file itself says of its scores."""
    return replace(served, scores=scores.settle(served.scores, metadata))


def _with_doubts(served: CompletedConfig, answers: Tensors) -> CompletedConfig:
    """Add why the first answers are not probabilities, for scores whose head is unknown."""
    doubts = probabilities.doubts(served.outputs, answers)
    return replace(served, scores=replace(served.scores, doubts=doubts))


def _cache_of(cache: ResponseCache | None, served: CompletedConfig) -> ModelCache | None:
    if not served.proto.response_cache.enable:
        return None
    if cache is None:
        text = "%s: response_cache in config.pbtxt has no effect without --cache-config"
        log.warning(text, served.proto.name)
        return None
    return ModelCache(cache)


def _log_load(title: str, opened: OpenedLanes, seconds: float) -> None:
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
