"""Opens the sessions of one version of a model: those that its configuration names, or by a plan.

A plan is for the CPU: pinned in config.pbtxt, or found by measurement at the first load.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from crossrun_server import cores
from crossrun_server.errors import LoadError
from crossrun_server.model_config.config import CompletedConfig
from crossrun_server.model_config.session_config import SessionConfig
from crossrun_server.models.warmup import zeros
from crossrun_server.plans import lane_plan, plan_cache, search
from crossrun_server.plans.lane_plan import AUTO, Plan
from crossrun_server.plans.search import MeasuredPlan
from crossrun_server.runtime.providers import CPU, NVIDIA
from crossrun_server.runtime.session import SPIN, SPINS, VERSION, Session, Threads
from crossrun_server.scheduling import padding
from crossrun_server.scheduling.batching import Run
from crossrun_server.scheduling.scheduler import Lane

log = logging.getLogger(__name__)

# Measured while others had the cores for more than this share of the time, a plan is not kept.
DISTURBED = 0.1

# What the configuration is, once sessions tell: one for each way in which the model is placed.
Complete = Callable[[Sequence[Session]], CompletedConfig]
Open = Callable[[int, int | None], Session]  # threads that spin; the same one for the same


@dataclass(frozen=True)
class OpenedLanes:
    """Sessions that can run, and the lanes that they are."""

    served: CompletedConfig
    sessions: tuple[Session, ...]
    lanes: tuple[Lane, ...]
    plan: Plan | None = None  # None: one lane for each instance
    cores: int = 0  # that the lanes share; 0: each has its own
    sizes: tuple[int, ...] = ()  # that batches are padded to; empty: they are not


def open_lanes(file: Path, placed: SessionConfig, there: int, complete: Complete) -> OpenedLanes:
    """Open all sessions of a model, for as many cores as are there.

    Raises:
        LoadError: see Session; or the plan is none.
    """
    known = _known(file, placed, there)
    may_be_cpu = any(provider.name == CPU for provider in placed.requests[0].providers)
    if known or placed.plan != AUTO or not may_be_cpu:
        return _open(file, placed, there, complete, known)
    with plan_cache.measuring():  # or else another model's sessions would be opened meanwhile
        return _open(file, placed, there, complete, _known(file, placed, there))


def _known(file: Path, placed: SessionConfig, there: int) -> Plan | None:
    """The plan that is pinned or kept; None where one has to be found, or is of no use."""
    if placed.plan == AUTO:
        return plan_cache.read(_key(file, placed, there))
    return lane_plan.parse(placed.plan) if placed.plan else None


def _open(
    file: Path, placed: SessionConfig, there: int, complete: Complete, known: Plan | None
) -> OpenedLanes:
    session = _sessions(file, placed, there)
    first = _of(session, known.lanes[0]) if known else session(placed.threads.intra_op, None)
    if not (placed.plan and first.assignment.nodes.keys() <= {CPU}):
        return _instances(file, placed, there, complete, first)
    served = complete([first])
    found = known or _found(session, served, there, _key(file, placed, there))
    if not served.independent:  # kept or pinned it may merge
        found = replace(found, batch=1)
    sessions = tuple(_of(session, lane) for lane in found.lanes)
    sizes = _sizes(sessions, placed, served)
    lanes = (
        Lane(_run(session, served, sizes), lane.places, lane.threads)
        for session, lane in zip(sessions, found.lanes, strict=True)
    )
    cores = max(there, found.lanes[0].threads)
    return OpenedLanes(served, sessions, tuple(lanes), found, cores, sizes)


def measure_plan(file: Path, placed: SessionConfig, there: int, complete: Complete) -> MeasuredPlan:
    """Find the plan of a model by measurement, and keep it for the next load.

    Raises:
        LoadError: see Session; or it does not run on the CPU alone, or not on zeros.
    """
    with plan_cache.measuring():
        session = _sessions(file, placed, there)
        first = session(there, None)
        if not first.assignment.nodes.keys() <= {CPU}:
            raise LoadError(f"plans are for the CPU, and {first.assignment} computes this model")
        return _tuned(session, complete([first]), there, _key(file, placed, there))


def _sessions(file: Path, placed: SessionConfig, there: int) -> Open:
    @cache
    def opened(threads: int, spin: int) -> Session:
        return Session(file, placed.requests[0], Threads(threads, placed.threads.inter_op, spin))

    return lambda threads, spin: opened(threads or there, SPIN if spin is None else spin)


def _of(session: Open, lane: lane_plan.LaneSpec) -> Session:
    return session(lane.threads, lane.spin)


def _instances(
    file: Path, placed: SessionConfig, there: int, complete: Complete, first: Session
) -> OpenedLanes:
    threads = Threads(placed.threads.intra_op or there, placed.threads.inter_op)
    others = (Session(file, request, threads) for request in placed.requests[1:])
    sessions = (first, *others)
    served = complete(list({repr(session.request): session for session in sessions}.values()))
    sizes = _sizes(sessions, placed, served)
    lanes = tuple(Lane(_run(session, served, sizes)) for session in sessions)
    return OpenedLanes(served, sessions, lanes, sizes=sizes)


def _sizes(
    sessions: Sequence[Session], placed: SessionConfig, served: CompletedConfig
) -> tuple[int, ...]:
    on_card = any(NVIDIA & session.assignment.nodes.keys() for session in sessions)
    sizes = padding.sizes(placed.batch_sizes, served.max_batch_size, new_shapes_cost=on_card)
    return sizes if served.independent else ()


def _run(session: Session, served: CompletedConfig, sizes: Sequence[int]) -> Run:
    return padding.around(served.reshapes.around(session.run), sizes)


def _found(session: Open, served: CompletedConfig, there: int, key: str) -> Plan:
    try:
        return _tuned(session, served, there, key).plan
    except LoadError as error:
        log.warning("%s: no plan was measured: %s", served.proto.name, error)
        return Plan((lane_plan.LaneSpec(1, there),))


def _tuned(session: Open, served: CompletedConfig, there: int, key: str) -> MeasuredPlan:
    try:
        found = search.measure_plan(
            lambda threads, spin: served.reshapes.around(session(threads, spin).run),
            there,
            SPINS,
            zeros(served),
            [spec.name for spec in served.outputs],
            served.max_batch_size if served.independent else 0,
        )
    except LoadError:
        raise
    except Exception as error:  # a model may well refuse zeros
        raise LoadError(f"it does not run on zeros: {error}") from error
    if found.disturbed > DISTURBED + 1 - cores.granted() / cores.available():
        busy = "%s: its threads had no core for %.0f %% of the time while its plan was measured; %s"
        log.warning(busy, served.proto.name, 100 * found.disturbed, "the next load measures again")
    else:
        plan_cache.write(key, found.plan)
    return found


def _key(file: Path, placed: SessionConfig, there: int) -> str:
    return plan_cache.key(file, placed.requests[0], there, VERSION)
