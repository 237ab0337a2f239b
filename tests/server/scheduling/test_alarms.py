"""Alarms ring at their time, whatever the others are."""

import time
from threading import Event

from crossrun_server.scheduling.alarms import Alarms


def test_an_alarm_in_the_far_future_stops_no_other() -> None:
    """A time that no thread can wait for is waited for in parts."""
    alarms, rung = Alarms(), Event()
    alarms.at(time.monotonic() + 1e18, lambda: None)
    time.sleep(0.05)  # the thread waits for it
    alarms.at(time.monotonic(), rung.set)
    assert rung.wait(10)
