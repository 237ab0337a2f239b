"""Loads one version of a model: prepares it, and makes it something that answers requests.

Knows the model's folder, and no other versions.
"""

import logging
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

from crossrun.oip import model_config_pb2 as pb
from crossrun_server import cores
from crossrun_server.errors import LoadError
from crossrun_server.model_config import session_config
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.model_config.session_config import SessionConfig
from crossrun_server.models import fastest
from crossrun_server.models.answers import file_check
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.models.model import Instruments, Model
from crossrun_server.models.prepared import Prepared, Version
from crossrun_server.models.upkeep.failing import Failing
from crossrun_server.models.upkeep.idle_memory import IdleMemory
from crossrun_server.runtime.providers import ProviderRequest
from crossrun_server.scheduling.batching import Execution
from crossrun_server.scheduling.response_cache import ModelCache, ResponseCache
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
    max_wait: float = math.inf  # expected seconds in a queue without a size of its own


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
        file_check.check(file)
        prepared = fastest.prepare(*asked(folder, file, declared, context))
    except LoadError as error:
        raise LoadError(f"version {version}: {error}") from error
    proto = prepared.served.proto
    session_config.write(proto, prepared.assignments, prepared.opened.plan, prepared.choice)
    title = f"{folder.name} version {version}"
    _log_load(title, prepared.opened, time.perf_counter() - started)
    log.info("%s: %s", title, proto.parameters[session_config.PROVEN].string_value)
    return _model(str(version), prepared, context)


def asked(
    folder: Path, file: Path, declared: pb.ModelConfig | None, context: ServerContext
) -> tuple[Version, SessionConfig]:
    """Return what is to be loaded, and how its sessions are to run.

    Raises:
        LoadError: see session_config.read.
    """
    count = context.cores or cores.available()
    version = Version(folder, file, declared, count, context.proof_tolerance)
    return version, session_config.read(declared or pb.ModelConfig(), context.default)


def _model(version: str, prepared: Prepared, context: ServerContext) -> Model:
    opened, served = prepared.opened, prepared.served
    statistics = Statistics()
    failing = Failing(prepared.probe.run if prepared.probe else None)
    memory = IdleMemory(prepared.probe, any_size=_takes_any_size(served))
    policy = replace(served.policy, max_wait=context.max_wait)
    if opened.plan and policy.merges_freely:
        policy = replace(policy, merge_rows=opened.plan.batch)
    cache = _cache_of(context.cache, served)

    def observe(execution: Execution) -> None:
        statistics.executed(execution)
        failing.executed(execution)
        memory.executed(execution)

    return Model(
        version=version,
        config=served,
        labels=prepared.labels,
        metadata=prepared.metadata,
        scheduler=Scheduler(opened.lanes, policy, observe=observe, cores=opened.cores),
        assignments=prepared.assignments,
        instruments=Instruments(statistics, failing, memory, cache, context.observers),
    )


def _takes_any_size(served: CompletedConfig) -> bool:
    """Whether a row may be large or small."""
    rows = 1 if served.max_batch_size else 0
    return any(-1 in spec.shape[rows:] for spec in served.inputs)


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
