"""Opens the sessions of one version of a model, as its configuration says, or by a plan.

Plans are for the CPU. A plan is pinned in config.pbtxt, or measured at the first load.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from crossrun_server import cores
from crossrun_server.errors import LoadError
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.model_config.session_config import SessionConfig
from crossrun_server.models.warmup import zeros
from crossrun_server.plans import lane_plan, plan_cache, search, steady
from crossrun_server.plans.lane_plan import AUTO, LaneSpec, Plan
from crossrun_server.plans.search import MeasuredPlan
from crossrun_server.runtime.providers import CPU, NVIDIA
from crossrun_server.runtime.session import Session
from crossrun_server.runtime.session_options import SPIN, SPINS, VERSION, Threads
from crossrun_server.scheduling import padding
from crossrun_server.scheduling.batching import Run
from crossrun_server.scheduling.places import Lane

log = logging.getLogger(__name__)

# A plan is not kept if other processes had the cores for more than this share of the time.
DISTURBED = 0.1

AGAIN = "the plan is used and not kept: the next load measures again"

# Completes the configuration, given one session for each list of providers.
Complete = Callable[[Sequence[Session]], CompletedConfig]


@dataclass(frozen=True)
class OpenedLanes:
    """Sessions that can run, and the lanes made of them."""

    served: CompletedConfig
    sessions: tuple[Session, ...]
    lanes: tuple[Lane, ...]
    plan: Plan | None = None  # None: each instance is a lane
    cores: int = 0  # that the lanes share; 0: each lane has its own
    sizes: tuple[int, ...] = ()  # that batches are padded to; empty: no padding
    doubt: str = ""  # why the plan that was measured is not kept; empty if it is

    @property
    def shrinking(self) -> tuple[Run, ...]:
        """A run of each session on the CPU, which then gives back memory that no run needs."""
        on_cpu = (it for it in self.sessions if it.assignment.nodes.keys() <= {CPU})
        return tuple(_wrapped(it.run_and_shrink, self.served, self.sizes) for it in on_cpu)


@dataclass(frozen=True)
class _Opener:
    """Opens the sessions of one file, for so many cores."""

    file: Path
    wanted: SessionConfig
    core_count: int
    opened: dict[tuple[int, int], Session] = field(default_factory=dict)  # by threads and spin

    def session(self, threads: int = 0, spin: int | None = None) -> Session:
        """Open a session on the first list of providers, or return the one that is open.

        Args:
            threads: 0 for one on each core.
            spin: microseconds; None for the default.
        """
        key = threads or self.core_count, SPIN if spin is None else spin
        if key not in self.opened:
            request, inter_op = self.wanted.requests[0], self.wanted.threads.inter_op
            bound = cores.bindable(key[0]) if self.wanted.plan else ()
            how = Threads(key[0], inter_op, key[1], bound)
            self.opened[key] = Session(self.file, request, how)
        return self.opened[key]

    def instances(self, first: Session) -> tuple[Session, ...]:
        """Open one session for each list of providers; the first is open already."""
        wanted = self.wanted
        threads = Threads(wanted.threads.intra_op or self.core_count, wanted.threads.inter_op)
        others = (Session(self.file, request, threads) for request in wanted.requests[1:])
        return (first, *others)

    def known_plan(self) -> Plan | None:
        """Return the pinned or cached plan; None if it must be measured, or is not needed."""
        if self.wanted.plan == AUTO:
            return plan_cache.read(self.plan_key())
        return lane_plan.parse(self.wanted.plan) if self.wanted.plan else None

    def plan_key(self) -> str:
        return plan_cache.key(self.file, self.wanted.requests[0], self.core_count, VERSION)


def open_lanes(
    file: Path, wanted: SessionConfig, core_count: int, complete: Complete
) -> OpenedLanes:
    """Open all sessions of a model, for so many cores.

    Raises:
        LoadError: see Session; or the pinned plan is malformed.
    """
    opener = _Opener(file, wanted, core_count)
    known = opener.known_plan()
    may_be_cpu = any(provider.name == CPU for provider in wanted.requests[0].providers)
    if known or wanted.plan != AUTO or not may_be_cpu:
        return _open(opener, complete, known)
    with plan_cache.measuring():  # so no other model opens its sessions meanwhile
        return _open(opener, complete, opener.known_plan())


def measure_plan(
    file: Path, wanted: SessionConfig, core_count: int, complete: Complete
) -> MeasuredPlan:
    """Measure the plan of a model, and keep it for the next load.

    Raises:
        LoadError: see Session; or the model runs on another provider, or not on zeros.
    """
    opener = _Opener(file, wanted, core_count)
    with plan_cache.measuring():
        first = opener.session(core_count)
        if not first.assignment.nodes.keys() <= {CPU}:
            raise LoadError(f"plans are for the CPU, and {first.assignment} computes this model")
        return _measured(opener, complete([first]))


def _open(opener: _Opener, complete: Complete, known: Plan | None) -> OpenedLanes:
    if known:
        first = opener.session(known.lanes[0].threads, known.lanes[0].spin)
    else:
        first = opener.session(opener.wanted.threads.intra_op)
    if not opener.wanted.plan or not first.assignment.nodes.keys() <= {CPU}:
        return _by_instances(opener, complete, first)
    served = complete([first])
    del first  # a session that was measured may go before those that serve are opened
    return _by_plan(opener, served, known)


def _by_plan(opener: _Opener, served: CompletedConfig, known: Plan | None) -> OpenedLanes:
    plan, doubt = (known, "") if known else _measured_or_default(opener, served)
    if not served.independent:  # a cached or pinned plan may merge
        plan = replace(plan, batch=1)
    sessions = tuple(opener.session(lane.threads, lane.spin) for lane in plan.lanes)
    sizes = _sizes(sessions, opener.wanted, served)
    lanes = tuple(
        Lane(_wrapped(session.run, served, sizes), lane.places, lane.threads)
        for session, lane in zip(sessions, plan.lanes, strict=True)
    )
    shared = max(opener.core_count, plan.lanes[0].threads)
    return OpenedLanes(served, sessions, lanes, plan=plan, cores=shared, sizes=sizes, doubt=doubt)


def _by_instances(opener: _Opener, complete: Complete, first: Session) -> OpenedLanes:
    sessions = opener.instances(first)
    served = complete(list({repr(session.request): session for session in sessions}.values()))
    sizes = _sizes(sessions, opener.wanted, served)
    lanes = tuple(Lane(_wrapped(session.run, served, sizes)) for session in sessions)
    return OpenedLanes(served, sessions, lanes, sizes=sizes)


def _sizes(
    sessions: Sequence[Session], wanted: SessionConfig, served: CompletedConfig
) -> tuple[int, ...]:
    on_card = any(NVIDIA & session.assignment.nodes.keys() for session in sessions)
    sizes = padding.sizes(wanted.batch_sizes, served.max_batch_size, new_shapes_cost=on_card)
    return sizes if served.independent else ()


def _wrapped(run: Run, served: CompletedConfig, sizes: Sequence[int]) -> Run:
    return padding.around(served.reshapes.around(run), sizes)


def _measured_or_default(opener: _Opener, served: CompletedConfig) -> tuple[Plan, str]:
    """Return a plan, and why it is in doubt; empty if it is not."""
    try:
        measured = _measured(opener, served)
    except LoadError as error:
        log.warning("%s: no plan was measured: %s", served.proto.name, error)
        return Plan((LaneSpec(1, opener.core_count),)), ""
    return measured.plan, measured.doubt


def _measured(opener: _Opener, served: CompletedConfig) -> MeasuredPlan:
    """Measure a plan, and keep it for the next load unless something disturbed its measurement."""
    found, moved = steady.steadily(lambda: _searched(opener, served))
    opener.opened.clear()  # they keep the memory that their largest batch took
    measured = replace(found, doubt=moved or steady.disturbance(found.disturbed))
    if measured.doubt:
        log.warning("%s: %s; %s", served.proto.name, measured.doubt, AGAIN)
    else:
        plan_cache.write(opener.plan_key(), measured.plan)
    return measured


def _searched(opener: _Opener, served: CompletedConfig) -> MeasuredPlan:
    try:
        return search.measure_plan(
            lambda threads, spin: served.reshapes.around(opener.session(threads, spin).run),
            core_count=opener.core_count,
            durations=SPINS,
            inputs=zeros(served),
            outputs=[spec.name for spec in served.outputs],
            most=served.max_batch_size if served.independent else 0,
        )
    except LoadError:
        raise
    except Exception as error:  # some models refuse zeros
        raise LoadError(f"it does not run on zeros: {error}") from error
