"""Requests on a schedule, whatever becomes of them."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EVERY = 0.01  # seconds from one request to the next


@contextmanager
def open_loop(send: Callable[[int], Any], every: float = EVERY) -> Iterator[list[Any]]:
    """Send on a schedule, however long answers take, until the block ends.

    Args:
        send: sends request number i and gives its call, without waiting.
        every: seconds from one to the next.
    """
    calls: list[Any] = []
    stop = threading.Event()

    def run() -> None:
        started = time.perf_counter()
        for number in itertools.count():
            if stop.wait(max(0.0, started + number * every - time.perf_counter())):
                return
            calls.append(send(number))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield calls
    finally:
        stop.set()
        thread.join()
