"""No more jobs at once than threads may work, each in its turn."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread

import pytest

from crossrun_server.errors import QueueFull
from crossrun_server.scheduling.turns import Turns


def begin(turns: Turns, job: Callable[[], None]) -> Thread:
    thread = Thread(target=turns.take, args=(job, "somebody"))
    thread.start()
    return thread


def test_jobs_wait_for_their_turn_and_are_done_in_order() -> None:
    """Who comes while all are busy does not wait itself: a thread that ends a job does the next."""
    turns, opened, begun, done = Turns(2), Event(), SimpleQueue[int](), SimpleQueue[int]()

    def held(number: int) -> None:
        begun.put(number)
        opened.wait()
        done.put(number)

    busy = [begin(turns, partial(held, number)) for number in range(2)]
    assert {begun.get(), begun.get()} == {0, 1}
    for number in range(2, 6):
        turns.take(partial(held, number), "somebody")
    assert begun.empty()
    opened.set()
    for thread in busy:
        thread.join()
    assert [begun.get() for _ in range(4)] == [2, 3, 4, 5]
    assert sorted(done.get() for _ in range(6)) == list(range(6))


def test_a_turn_that_has_ended_is_free_again() -> None:
    """The next job is done at once, on the thread that brings it."""
    turns, done = Turns(1), SimpleQueue[int]()
    for number in range(3):
        turns.take(partial(done.put, number), "somebody")
        assert done.get_nowait() == number


@contextmanager
def busy(turns: Turns) -> Iterator[None]:
    """All threads that may work do, until the block ends."""
    opened, begun = Event(), SimpleQueue[None]()

    def held() -> None:
        begun.put(None)
        opened.wait()

    threads = [begin(turns, held) for _ in range(turns.most)]
    for _ in threads:
        begun.get()
    try:
        yield
    finally:
        opened.set()
        for thread in threads:
            thread.join()


def test_connections_take_turns() -> None:
    """One that comes once goes behind the first of one that has come before with three."""
    turns, done = Turns(1), SimpleQueue[str]()
    with busy(turns):
        for name in ("a1", "a2", "a3", "b1"):
            turns.take(partial(done.put, name), name[0])
    assert [done.get_nowait() for _ in range(4)] == ["a1", "b1", "a2", "a3"]


def test_who_would_wait_too_long_is_refused() -> None:
    """By what jobs have taken so far; where a thread is free nobody waits."""
    turns = Turns(1, max_wait=0.001)
    turns.take(partial(time.sleep, 0.05), "a")
    turns.check("a", time.monotonic() + 0.001)
    with busy(turns):
        turns.check("a", None)
        turns.take(lambda: None, "a")
        with pytest.raises(QueueFull, match="--max-queue-wait-ms"):
            turns.check("a", None)


def test_a_coroutine_waits_for_its_turn() -> None:
    """It gets what its function returns or raises; if it leaves before, nothing is called."""
    turns, called = Turns(1), SimpleQueue[str]()

    def fail() -> None:
        raise ValueError("no")

    async def scenario() -> None:
        assert await turns.result(lambda: 7, "a") == 7
        with pytest.raises(ValueError, match="no"):
            await turns.result(fail, "a")
        with busy(turns):
            leaving = asyncio.create_task(turns.result(partial(called.put, "left"), "a"))
            staying = asyncio.create_task(turns.result(partial(called.put, "stayed"), "a"))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.sleep(0)
        await staying

    asyncio.run(scenario())
    assert called.get_nowait() == "stayed"
    assert called.empty()
