"""Requests that wait: which may, for how long, and which go next as one batch.

The rules are those of Triton's dynamic batcher; within a level, connections take turns. Knows the
time only as an argument.
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice

from crossrun_server.errors import QueueFull
from crossrun_server.scheduling.batching import InferenceRequest
from crossrun_server.scheduling.fair_line import FairLine


@dataclass(frozen=True)
class QueuePolicy:
    """How the requests of one priority level wait."""

    size: int = 0  # requests; 0: as many as do not wait too long, see SchedulingPolicy.max_wait
    timeout: int = 0  # microseconds that a request may wait; 0 for ever
    allow_timeout_override: bool = False  # a request may ask for less than `timeout`
    delay_expired: bool = False  # it goes behind the others of its level, and is not refused

    def timeout_for(self, asked: int) -> int:
        """Return the microseconds that a request may wait if it asks for a timeout; 0 for ever."""
        return asked if self.allow_timeout_override and 0 < asked < self.timeout else self.timeout


@dataclass(frozen=True)
class SchedulingPolicy:
    """How requests wait and merge; `max_batch_size` 0: the first dimension is not a batch."""

    max_batch_size: int = 0  # rows
    max_queue_delay: float = 0.0  # seconds that the oldest request waits for company
    merge: bool = True  # whether requests share runs at all
    merge_rows: int = 0  # the most rows of a merged batch; 0: `max_batch_size`
    preferred_batch_sizes: frozenset[int] = frozenset()  # rows; such batches go without a delay
    preserve_ordering: bool = False
    priority_levels: int = 0
    default_priority: int = 0
    max_wait: float = math.inf  # expected seconds in a queue that has no size of its own
    queue: QueuePolicy = QueuePolicy()
    queues: Mapping[int, QueuePolicy] = field(default_factory=dict)  # by level; else `queue`

    @property
    def waits_for_company(self) -> bool:
        """Whether a request may have to wait though it could run."""
        return self.max_queue_delay > 0

    @property
    def merges_freely(self) -> bool:
        """Whether it leaves open how large batches should be and how long to wait for them."""
        return self.merge and not (self.preferred_batch_sizes or self.max_queue_delay)

    def level(self, priority: int) -> int:
        """Return the level of a priority; the default level if there is no such level."""
        return priority if 1 <= priority <= self.priority_levels else self.default_priority

    def queue_of(self, level: int) -> QueuePolicy:
        """Return how the requests of a level wait."""
        return self.queues.get(level, self.queue)

    def longest_wait(self, level: int) -> float:
        """Return how many seconds a request of a level may be expected to wait."""
        return math.inf if self.queue_of(level).size else self.max_wait


class RequestQueue:
    """The requests that wait, by level and in fair turns; leaving is cheap."""

    def __init__(self, policy: SchedulingPolicy) -> None:
        self._policy = policy
        self._levels: dict[int, FairLine[InferenceRequest]] = {}  # only levels with requests
        self.rows = 0  # of all that waits

    def __iter__(self) -> Iterator[InferenceRequest]:
        return chain.from_iterable(self._levels.values())

    def __contains__(self, request: InferenceRequest) -> bool:
        return request in self._levels.get(request.level, ())

    def __bool__(self) -> bool:
        return bool(self._levels)

    def __len__(self) -> int:
        return sum(map(len, self._levels.values()))

    def enter(self, request: InferenceRequest) -> None:
        """Let a request wait; `check_size` has been asked."""
        if request.level not in self._levels:
            self._levels[request.level] = FairLine()
        self._levels[request.level].enter(request, request.connection, request.rows)
        self.rows += request.rows

    def check_size(self, level: int, wait: float) -> None:
        """Find out whether a level may have one request more.

        Args:
            level: its number.
            wait: the seconds after which a caller may try again.

        Raises:
            QueueFull: the queue of the level has a size, and is full.
        """
        size = self._policy.queue_of(level).size
        if size and len(self._levels.get(level, ())) >= size:
            where = f" of priority {level}" if self._policy.priority_levels else ""
            raise QueueFull(f"the queue{where} is full ({size} requests wait)", wait)

    def rows_before(self, level: int, connection: Hashable) -> float:
        """Return about how many rows run before those that a connection would send now."""
        above = sum(line.rows for other, line in self._levels.items() if other < level)
        return above + (self._levels[level].rows_before(connection) if level in self._levels else 0)

    def leave(self, request: InferenceRequest) -> None:
        """Remove a request, if it waits."""
        if request in self:
            self._levels[request.level].leave(request)
            self._forget(request)

    def take(self, batch: Iterable[InferenceRequest]) -> None:
        """Remove requests that are going to run."""
        for request in batch:
            self._levels[request.level].take(request)
            self._forget(request)

    def _forget(self, request: InferenceRequest) -> None:
        self.rows -= request.rows
        if not self._levels[request.level]:
            del self._levels[request.level]

    def next_batch(self, now: float, shares: int = 1) -> tuple[list[InferenceRequest], float]:
        """Choose the next batch, and when it goes; its requests stay in the queue.

        The requests are divided among as many batches as there are `shares`.

        A batch goes at once if it has a preferred size, if it is full, or if a request waits that
        does not fit in. Any other goes, as large as it can be, once its oldest request has waited
        for the queue delay.
        """
        if not (self._policy.merge and self._policy.max_batch_size):
            return list(islice(self._live(now), 1)), now
        batch, can_grow = self._gather(now, self._most(shares))
        delay = self._policy.max_queue_delay
        ready_at = min((request.arrived for request in batch), default=now) + delay
        if delay and ready_at <= now:
            return batch, now
        if preferred := self._preferred(batch):
            return preferred, now
        return batch, ready_at if can_grow else now

    def _most(self, shares: int) -> int:
        """Return the most rows of a batch."""
        most = self._policy.merge_rows or self._policy.max_batch_size
        return max(1, min(most, -(-self.rows // shares))) if shares > 1 else most

    def _gather(self, now: float, most: int) -> tuple[list[InferenceRequest], bool]:
        """Return the first live request and those behind it that fit, and whether more could."""
        batch: list[InferenceRequest] = []
        rows, can_grow = 0, True
        for request in self._live(now):
            too_many = rows + request.rows > most
            if batch and (too_many or not batch[0].fits(request)):
                can_grow = False
                continue
            batch.append(request)
            rows += request.rows
            if rows >= most:
                return batch, False
        return batch, can_grow

    def _preferred(self, batch: list[InferenceRequest]) -> list[InferenceRequest]:
        """Return the longest beginning of a batch that has a preferred size; empty if none has."""
        sizes = accumulate(request.rows for request in batch)
        ends = [i for i, rows in enumerate(sizes, 1) if rows in self._policy.preferred_batch_sizes]
        return batch[: ends[-1]] if ends else []

    def _live(self, now: float) -> Iterator[InferenceRequest]:
        """Yield the requests that can still be answered in time, in the order of their turns."""
        for level in sorted(self._levels):
            for request in self._by_turn(level, now):
                if not request.gone(now):
                    yield request

    def _by_turn(self, level: int, now: float) -> Iterable[InferenceRequest]:
        """Return the requests of a level that have not expired, or all, the expired ones last."""
        waiting = self._levels[level]
        if self._policy.queue_of(level).delay_expired:
            return sorted(waiting, key=lambda request: request.expired(now))
        return (request for request in waiting if not request.expired(now))
