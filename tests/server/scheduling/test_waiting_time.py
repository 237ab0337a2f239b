"""How long somebody would wait, and when that is too long."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossrun_server.errors import DeadlineExceeded, ServingError, WaitTooLong
from crossrun_server.scheduling.batching import InferenceRequest
from crossrun_server.scheduling.queueing import RequestQueue, SchedulingPolicy
from crossrun_server.scheduling.waiting_time import Pace, check, fits

SECONDS = st.floats(0, 20)


def paced(*seconds: float, rows: int = 1, share: float = 1.0) -> Pace:
    pace = Pace()
    for one in seconds:
        pace.note(one, rows, share)
    return pace


def test_the_first_run_counts_whole() -> None:
    assert paced(0.2, rows=4, share=0.5).row == pytest.approx(0.025)
    assert paced(0.2, rows=4, share=0.5).run == 0.2


def test_what_was_measured_is_forgotten() -> None:
    """A run that took long, such as a first one, is next to nothing in the mean soon after."""
    pace = paced(10.0, *[0.01] * 60)
    assert pace.row == pytest.approx(0.01, rel=0.5)


def test_a_faster_run_is_believed_at_once() -> None:
    """Nobody is refused because no run is short enough, if one was."""
    pace = paced(10.0, 0.01)
    assert pace.run == 0.01
    assert paced(0.01, 10.0).run < 2


@pytest.mark.parametrize(
    ("wait", "left", "longest"),
    [(5.0, None, 5.0), (0.0, 2.0, 0.0), (1.0, 3.0, math.inf)],
    ids=["no deadline", "nobody before", "half of the time"],
)
def test_who_is_in_time_waits(wait: float, left: float | None, longest: float) -> None:
    check(wait, 1.0, left, longest)


def test_who_would_wait_longer_than_anybody_may_is_told_when_to_come_again() -> None:
    with pytest.raises(WaitTooLong, match=r"about 1500 ms, expected 1000 ms .+--max-queue-wait-ms"):
        check(1.5, 0.1, None, 1.0)


def test_who_would_be_late_for_others_sake_is_told_when_to_come_again() -> None:
    """Waiting may take half of the time: the rest is for what is not known."""
    with pytest.raises(WaitTooLong, match="about 600 ms, and its deadline is in 1100 ms") as caught:
        check(0.6, 0.1, 1.1, 10.0)
    assert caught.value.retry_after == 0.6


def test_who_would_be_late_alone_is_told_that() -> None:
    """To come later would not help, so it is no question of the queue."""
    with pytest.raises(DeadlineExceeded, match="in 500 ms, and the model runs for 15 s"):
        check(3.0, 15.0, 0.5, 1.0)


@given(SECONDS, SECONDS, SECONDS | st.none(), SECONDS | st.just(math.inf))
def test_who_fits_is_not_refused(
    wait: float, run: float, left: float | None, longest: float
) -> None:
    try:
        check(wait, run, left, longest)
    except ServingError:
        assert not fits(wait, run, left, longest)
    else:
        assert fits(wait, run, left, longest)


def test_the_rows_that_wait_are_counted_over_all_levels() -> None:
    queue = RequestQueue(SchedulingPolicy(max_batch_size=8, priority_levels=2))
    first, second, third = (_asked(level, rows) for level, rows in ((1, 3), (2, 4), (2, 1)))
    for request in (first, second, third):
        queue.enter(request)
    assert queue.rows == 8
    queue.take([first])
    queue.leave(second)
    queue.leave(second)
    assert queue.rows == 1


def _asked(level: int, rows: int) -> InferenceRequest:
    return InferenceRequest(
        inputs={}, outputs=(), rows=rows, answer=print, has_left=lambda: False, deadline=None,
        level=level, connection=None,
    )  # fmt: skip
