"""The threads of a lane that has all cores: each has one of its own."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from crossrun_server import cores
from crossrun_server.runtime import providers
from crossrun_server.runtime.session import Session
from crossrun_server.runtime.session_options import Threads
from tests.support import models

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds threads")
TASKS = Path("/proc/self/task")
OWN = os.sched_getaffinity(0) if sys.platform == "linux" else set()


def threads() -> set[int]:
    return {int(task.name) for task in TASKS.iterdir()}


MANY = pytest.mark.skipif(len(OWN) < 2, reason="there is one core only")


@pytest.fixture
def bindable() -> tuple[int, ...]:
    return cores.bindable(len(OWN))


def session(bindable: tuple[int, ...]) -> Session:
    threads = Threads(len(OWN), cores=bindable)
    return Session(models.slow().SerializeToString(), providers.parse("cpu"), threads)


@MANY
def test_each_thread_has_a_core_of_its_own(bindable: tuple[int, ...]) -> None:
    """All but the first, which is the caller's."""
    before = threads()
    opened = session(bindable)
    ours = threads() - before
    while any(len(os.sched_getaffinity(thread)) > 1 for thread in ours):  # each binds itself
        pass
    found = [os.sched_getaffinity(thread) for thread in ours]
    assert sorted(map(tuple, found)) == [(core,) for core in sorted(bindable[1:])]
    del opened


@MANY
def test_the_caller_has_the_first_core_while_it_runs(bindable: tuple[int, ...]) -> None:
    """Before and after a run it is where Linux wants it."""
    opened, callers = session(bindable), SimpleQueue[int]()

    def run() -> set[int]:
        callers.put(threading.get_native_id())
        opened.run({"turns": np.array([200_000], np.int64)}, ["y"])
        return os.sched_getaffinity(0)

    with ThreadPoolExecutor(1) as pool:
        ended, caller = pool.submit(run), callers.get()
        while os.sched_getaffinity(caller) != {bindable[0]}:
            assert not ended.done()
        assert ended.result() == OWN


def test_lanes_of_some_of_the_cores_are_bound_to_none() -> None:
    """Others may need the same ones; so do processes that share the machine."""
    assert cores.bindable(1) == ()
    assert cores.bindable(len(OWN) + 1) == ()
    assert len(OWN) < 3 or cores.bindable(len(OWN) - 1) == ()


@MANY
def test_lanes_begin_with_cores_in_turn() -> None:
    """The first thread of a lane has most to do, so models do not share the first core."""
    found = [cores.bindable(len(OWN))[0] for _ in range(2 * len(OWN))]
    assert sorted(found) == sorted([*OWN, *OWN])


def test_a_core_that_is_not_ours_is_left_alone() -> None:
    """Somebody has moved the process since: its threads run where they may."""
    with cores.bound(max(OWN) + 1):
        assert os.sched_getaffinity(0) == OWN


def test_an_error_leaves_no_thread_bound() -> None:
    """A run that fails gives its caller all cores back."""

    def fail() -> None:
        with cores.bound(min(OWN)):
            assert os.sched_getaffinity(0) == {min(OWN)}
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        fail()
    assert os.sched_getaffinity(0) == OWN
