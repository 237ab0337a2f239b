"""Alarms ring at their time, whatever the others are."""

import gc
import time
from threading import Event

from crossrun_server.scheduling.alarms import FEW, Alarm, Alarms


def test_an_alarm_in_the_far_future_stops_no_other() -> None:
    """A time that no thread can wait for is waited for in parts."""
    alarms, rung = Alarms(), Event()
    alarms.at(time.monotonic() + 1e18, lambda: None)
    time.sleep(0.05)  # the thread waits for it
    alarms.at(time.monotonic(), rung.set)
    assert rung.wait(10)


def test_alarms_that_were_cancelled_are_let_go_of() -> None:
    """Requests that were answered long before their timeout do not add up until it."""
    alarms, later = Alarms(), time.monotonic() + 3600
    kept = [alarms.at(later, print) for _ in range(FEW)]
    for _ in range(20 * FEW):
        alarms.at(later, print).cancel()
    there = sum(isinstance(it, Alarm) and it.ring in (None, print) for it in gc.get_objects())
    assert len(kept) <= there < 5 * FEW
