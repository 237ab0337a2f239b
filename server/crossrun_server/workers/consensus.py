"""Keeps the workers of a port in the same state, and adds up what they have counted.

Changes are made one after the other, in all workers at once. Changes of settings and regions do
not wait for a model that takes minutes to load. A worker that starts later is brought to the same
state before it may serve. Starts and ends no processes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from grpc import StatusCode

from crossrun_server.errors import LoadError
from crossrun_server.telemetry import readings
from crossrun_server.telemetry.readings import Snapshot
from crossrun_server.workers.changes import LOAD, UNLOAD, Change, Changes, inverse
from crossrun_server.workers.link import Lost, Peer
from crossrun_server.workers.sharing import Outcome

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that a worker has to answer with its counters


@dataclass(eq=False)
class Member:
    """A worker that serves, and what it had counted when it was last asked."""

    number: int
    peer: Peer
    last: Snapshot = field(default_factory=Snapshot)


class Vote:
    """All must agree before any goes on; a refusal, or a worker that ends, decides for all."""

    def __init__(self, voters: Iterable[int]) -> None:
        self._missing = set(voters)
        self._decided = asyncio.Event()
        self.refusal: Outcome | None = None  # the first

    async def agree(self, number: int) -> str:
        """Wait for the others; returns why one of them refuses, or an empty text."""
        self._missing.discard(number)
        if not self._missing:
            self._decided.set()
        await self._decided.wait()
        return self.refusal.details if self.refusal else ""

    def refuse(self, outcome: Outcome) -> None:
        """Decide against the change, if it is not decided yet."""
        if not self._decided.is_set():
            self.refusal = outcome
            self._decided.set()


class Consensus:
    """The workers that serve, by number, and what clients have changed since the start.

    Args:
        noted: is awaited with each change once all workers have made it.
    """

    def __init__(self, noted: Callable[[Change], Awaitable[None]]) -> None:
        self.members: dict[int, Member] = {}
        self.changes = Changes()
        self._noted = noted
        self._loading, self._setting = asyncio.Lock(), asyncio.Lock()
        self._reading = asyncio.Lock()
        self._vote = Vote(())
        self._under_way: set[asyncio.Task[Outcome]] = set()
        self._remains = Snapshot()  # what workers that have ended had counted

    async def admit(self, member: Member) -> Any:
        """Bring a worker to the state of the others and let it serve; returns what `open` returns.

        Raises:
            LoadError: it cannot load a model that the others have loaded.
            Lost: it has ended.
        """
        async with self._loading, self._setting:
            for method, request in self.changes:
                outcome = await member.peer.call("change", method, request)
                _check(method, outcome)
            answer = await member.peer.call("open")
            self.members[member.number] = member
            return answer

    def dismiss(self, number: int) -> None:
        """Forget a worker that has ended, but keep what it had counted."""
        if member := self.members.pop(number, None):
            self._remains = readings.total((self._remains, member.last.remains()))

    async def change(self, method: str, request: Change) -> Outcome:
        """Make every worker follow a call, and finish it even if the caller leaves."""
        task = asyncio.create_task(self._change(method, request))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def agree(self, number: int) -> str:
        """Wait until every worker has loaded a model; returns why one cannot, or an empty text."""
        return await self._vote.agree(number) if number in self.members else ""

    async def read(self) -> Snapshot:
        """Add up what all have counted; a worker that does not answer counts as it last did."""
        async with self._reading:
            await asyncio.gather(*map(_read, self.members.values()))
            lasts = (member.last for member in self.members.values())
            return readings.total((*lasts, self._remains))

    async def _change(self, method: str, request: Change) -> Outcome:
        async with self._loading if method in (LOAD, UNLOAD) else self._setting:
            members, vote = list(self.members.values()), Vote(self.members)
            if method == LOAD:
                self._vote = vote
            outcomes = await asyncio.gather(*(_ask(m, vote, method, request) for m in members))
            done = {m: o for m, o in zip(members, outcomes, strict=True) if o.code is None}
            if _holds(method, outcomes):
                await self._note(method, request)
                return next(iter(done.values()))
            if call := inverse(request):
                await asyncio.gather(*(_ask(member, vote, *call) for member in done))
            return vote.refusal or _NOBODY

    async def _note(self, method: str, request: Change) -> None:
        self.changes.note(method, request)
        if method in (LOAD, UNLOAD):  # its counters start again
            self._forget_counters(request.model_name)  # type: ignore[union-attr]
        await self._noted(request)

    def _forget_counters(self, model: str) -> None:
        self._remains = self._remains.without(model)
        for member in self.members.values():
            member.last = member.last.without(model)


_LOST = Outcome(
    None, StatusCode.UNAVAILABLE, "a worker ended meanwhile; nothing has changed", lost=True
)
_NOBODY = Outcome(None, StatusCode.UNAVAILABLE, "no worker serves")


async def _ask(member: Member, vote: Vote, method: str, request: Change) -> Outcome:
    outcome: Outcome
    try:
        outcome = await member.peer.call("change", method, request)
    except Lost:
        outcome = _LOST
    if outcome.code is not None:
        vote.refuse(outcome)
    return outcome


def _holds(method: str, outcomes: list[Outcome]) -> bool:
    """Whether a change holds: no worker refused it. One that ended meanwhile will be replaced.

    An unload holds if any worker had the model; the others did not know it, and still do not.
    """
    done = any(outcome.code is None for outcome in outcomes)
    refused = any(outcome.code is not None and not outcome.lost for outcome in outcomes)
    return done and (method == UNLOAD or not refused)


def _check(method: str, outcome: Outcome) -> None:
    """Let a new worker serve without a region that has gone, but not without a model."""
    if outcome.code is None:
        return
    if method == LOAD:
        raise LoadError(outcome.details)
    log.warning("a new worker could not follow an earlier %s: %s", method, outcome.details)


async def _read(member: Member) -> None:
    try:
        member.last = await member.peer.call("read", timeout=PATIENCE)
    except Lost as error:
        log.warning("worker %d did not answer with its counters: %s", member.number, error)
