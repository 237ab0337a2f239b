"""What waits, in fair turns: connections share what is done, however much one of them asks for.

Self-clocked fair queueing, counted in rows: S. J. Golestani, "A self-clocked fair queueing scheme
for broadband applications", 1994, https://doi.org/10.1109/INFCOM.1994.337677.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)
TURN = itemgetter(0)


class _Entry(NamedTuple):
    turn: int
    rows: int
    connection: Hashable


@dataclass
class _Own:
    """What waits of one connection."""

    end: int  # of the turn of its latest
    count: int = 0


class FairLine(Generic[T]):
    """Things in the order of their turns; what one connection has sent keeps its order.

    Turns count rows. What comes after others of its connection has its turn when they have had
    theirs; what comes alone has it now. So of two connections, neither gets more rows than the
    other while both have something that waits.
    """

    def __init__(self) -> None:
        self.rows = 0  # of all that waits
        self._line: list[tuple[int, T]] = []  # by turn, then by arrival
        self._entries: dict[T, _Entry] = {}
        self._own: dict[Hashable, _Own] = {}  # only connections with something that waits
        self._now = 0  # the end of the latest turn that was had

    def __iter__(self) -> Iterator[T]:
        return (item for _, item in self._line)

    def __contains__(self, item: T) -> bool:
        return item in self._entries

    def __len__(self) -> int:
        return len(self._line)

    def enter(self, item: T, connection: Hashable, rows: int = 1) -> None:
        """Let something wait."""
        turn = self._turn(connection)
        own = self._own.setdefault(connection, _Own(turn))
        own.end, own.count = turn + rows, own.count + 1
        self._entries[item] = _Entry(turn, rows, connection)
        insort(self._line, (turn, item), key=TURN)
        self.rows += rows

    def take(self, item: T) -> None:
        """Let something have its turn."""
        entry = self._entries[item]
        self._now = max(self._now, entry.turn + entry.rows)
        self.leave(item)

    def leave(self, item: T) -> None:
        """Let something go that has not had its turn."""
        entry = self._entries.pop(item)
        begin = bisect_left(self._line, entry.turn, key=TURN)
        del self._line[self._line.index((entry.turn, item), begin)]
        self.rows -= entry.rows
        own = self._own[entry.connection]
        own.count -= 1
        if not own.count:
            del self._own[entry.connection]

    def rows_before(self, connection: Hashable) -> float:
        """Return about how many rows would be done before what this connection would send now."""
        if not self._line:
            return 0
        before = bisect_right(self._line, self._turn(connection), key=TURN)
        return self.rows * before / len(self._line)

    def _turn(self, connection: Hashable) -> int:
        own = self._own.get(connection)
        return max(self._now, own.end) if own else self._now
