"""No more jobs at once than threads may work, each in its turn."""

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread

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
