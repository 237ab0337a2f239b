"""Takes the provider of several that answers one request soonest, if it answers right.

Each is prepared as if it were the only one, in its best plan, and its answers are checked. Those
that pass are measured in turns. The choice is kept for the next load of the same file in the same
circumstances, and checked like any other provider then.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle

from crossrun_server import disk_cache
from crossrun_server.errors import LoadError
from crossrun_server.model_config.session_config import SessionConfig
from crossrun_server.models import prepared as preparing
from crossrun_server.models import warmup
from crossrun_server.models.answers.checked_lane import WrongAnswers
from crossrun_server.models.prepared import Prepared, Version
from crossrun_server.plans import choice, plan_cache, race, search, steady
from crossrun_server.plans.choice import Choice, Standing
from crossrun_server.plans.race import Race
from crossrun_server.proofs import evidence
from crossrun_server.runtime import inventory
from crossrun_server.runtime.providers import CPU, ProviderRequest, Rule

log = logging.getLogger(__name__)

RULE = 1  # raise it when providers are measured or chosen in another way
AGAIN = "the choice is used and not kept: the next load measures again"


def prepare(version: Version, wanted: SessionConfig) -> Prepared:
    """Prepare a version on the providers it asks for, or on the fastest if it asks for that.

    Raises:
        LoadError: see prepared.prepare; or a provider that was named does not run, or none answers
            right.
    """
    if not wanted.to_measure:
        return preparing.prepare(version, wanted)
    began, key = time.time(), _key(version, wanted)
    kept = choice.read(key, began)
    if prepared := _as_kept(version, wanted, kept):
        return prepared
    with plan_cache.measuring(choice.KIND):  # another process may have measured it meanwhile
        newer = choice.read(key, began)
        prepared = _as_kept(version, wanted, None if newer == kept else newer)
        return prepared or measure(version, wanted)


def measure(version: Version, wanted: SessionConfig) -> Prepared:
    """Prepare a version on the fastest provider, measured now; keep the choice for the next load.

    Raises:
        LoadError: as above.
    """
    tried = {name: _tried(version, wanted, name) for name in runnable(_asked(wanted))}
    refused = [one for one in tried.values() if isinstance(one, Standing)]
    for standing in refused:
        log.warning("%s: %s", version.folder.name, standing)
    entrants = {name: one for name, one in tried.items() if isinstance(one, Prepared)}
    if not entrants:
        reasons = "; ".join(dict.fromkeys(one.refusal for one in refused))
        raise LoadError(f"no provider of {_asked(wanted)} can be taken: {reasons}")
    chosen = _choice(entrants, refused)
    log.info("%s: %s", version.folder.name, chosen)
    if chosen.doubt:
        log.warning("%s: %s; %s", version.folder.name, chosen.doubt, AGAIN)
    choice.write(_key(version, wanted), chosen)
    return _told(entrants[chosen.chosen], wanted, chosen)


def runnable(request: ProviderRequest) -> tuple[str, ...]:
    """Name the providers to measure, the CPU's first: those that run here, or those named."""
    names = [provider.name for provider in request.providers]
    if request.rule == Rule.FASTEST:
        names = [name for name in names if inventory.status(name).runs]
    return tuple(sorted(names, key=lambda name: name != CPU))


def _asked(wanted: SessionConfig) -> ProviderRequest:
    assert wanted.to_measure
    return wanted.to_measure


def _as_kept(version: Version, wanted: SessionConfig, kept: Choice | None) -> Prepared | None:
    """Prepare the provider that was chosen earlier; return None if there is none to be used."""
    if kept is None:
        return None
    try:
        prepared = preparing.prepare(version, wanted.on(kept.chosen))
    except LoadError as error:
        text = "%s: %s was the fastest and cannot be used any more, so all are measured again: %s"
        log.warning(text, version.folder.name, kept.chosen, error)
        return None
    log.info("%s, as measured earlier: %s", version.folder.name, kept)
    return _told(prepared, wanted, kept)


def _told(prepared: Prepared, wanted: SessionConfig, chosen: Choice) -> Prepared:
    """Say of each session what was asked for, and why it does not run on the others."""
    pairs = zip(prepared.assignments, cycle(wanted.requests), strict=False)  # lanes share a request
    assignments = (
        replace(one, requested=str(request), skipped=chosen.others) if request.to_measure else one
        for one, request in pairs
    )
    return replace(prepared, assignments=tuple(assignments), choice=chosen)


def _tried(version: Version, wanted: SessionConfig, name: str) -> Prepared | Standing:
    """Prepare a version on one provider; return why if that provider may not be taken."""
    try:
        found = preparing.prepare(version, wanted.on(name))
    except WrongAnswers as error:
        return Standing(name, off_by=f"{error.difference:.2g}", refusal=str(error))
    except LoadError as error:
        if _asked(wanted).rule == Rule.FASTEST_OF:
            raise
        return Standing(name, refusal=str(error))
    unproven = _unproven(name, found)
    return Standing(name, off_by=_off_by(found), refusal=unproven) if unproven else found


def _unproven(name: str, found: Prepared) -> str:
    """Say why nothing vouches for a provider's answers; the CPU's need nothing, as anywhere."""
    loose = [one.evidence for one in found.assignments if one.evidence.allowed is None]
    if name == CPU or not loose:
        return ""
    return f"nothing vouches for its answers: {loose[0]}; name the provider if it shall run"


def _choice(entrants: Mapping[str, Prepared], refused: Sequence[Standing]) -> Choice:
    """Measure those that may be taken, and choose."""
    with plan_cache.measuring():  # so that no plan is measured meanwhile
        found, moved = _raced(entrants)
        standings = [_standing(name, one, found) for name, one in entrants.items()]
    in_order = sorted([*standings, *refused], key=lambda one: one.provider != found.winner)
    plans = (one.opened.doubt for one in entrants.values())
    doubts = (moved, steady.disturbance(found.waited), *plans)
    return Choice(found.winner, tuple(in_order), next(filter(None, doubts), ""))


def _raced(entrants: Mapping[str, Prepared]) -> tuple[Race, str]:
    """Measure one request at a time on each; return why that is in doubt, empty if it is not."""
    alone = {name: _calls(name, one)[0] for name, one in entrants.items()}
    try:
        return steady.steadily(lambda: race.run(alone))
    except Exception as error:  # some models refuse zeros
        raise LoadError(
            f"the fastest provider cannot be measured: {' '.join(str(error).split())}; name a "
            "provider, or add a model_warmup sample that the model takes"
        ) from error


def _calls(name: str, one: Prepared) -> list[Callable[[], object]]:
    """Return functions that run one request: alone on a provider's lane, then all places at once.

    The lane is the widest, or the first instance that is the provider's.
    """
    served, opened = one.served, one.opened
    request = next(warmup.requests(served, one.folder), None) or warmup.zeros(served)
    outputs = [spec.name for spec in served.outputs]
    pairs = zip(opened.lanes, opened.sessions, strict=True)
    own = next(lane for lane, session in pairs if session.request.providers[0].name == name)
    busy = opened.lanes[-1:] * opened.lanes[-1].places if opened.plan else opened.lanes
    return [partial(lane.run, request, outputs) for lane in (own, *busy)]


def _standing(name: str, one: Prepared, found: Race) -> Standing:
    rate, _ = search.at_once(_calls(name, one)[1:])
    plan = str(one.opened.plan or "")
    return Standing(name, plan, found.seconds(name), rate, _off_by(one))


def _off_by(one: Prepared) -> str:
    """Return the largest difference of all sessions, and of whose answers it is."""
    known = [found for it in one.assignments if (found := it.evidence).difference is not None]
    if not known:
        return ""
    whose = " from cpu" if known[0].origin == evidence.RANDOM else ""
    return f"{max(found.difference or 0.0 for found in known):.2g}{whose}"


def _key(version: Version, wanted: SessionConfig) -> str:
    declared = version.declared
    return disk_cache.key(
        version.file,
        disk_cache.processor(),
        disk_cache.beside(version.file),
        version.core_count,
        version.tolerance,
        declared and declared.SerializeToString(deterministic=True),
        wanted,
        inventory.described(runnable(_asked(wanted))),
        RULE,
    )
