"""Which lane of a plan a request gets, and who takes it there."""

import asyncio
import threading
from collections.abc import Sequence

from crossrun_server.scheduling.batching import Tensors
from crossrun_server.scheduling.places import Lane as RunLane
from crossrun_server.scheduling.queueing import SchedulingPolicy
from crossrun_server.scheduling.scheduler import Scheduler
from tests.support.gate import Gate, rows, send, settle


def test_who_is_alone_gets_the_wide_lane_and_many_get_narrow_ones() -> None:
    """What waits behind a wide run goes side by side; once all is quiet the wide one is back."""

    async def scenario() -> None:
        wide, narrow = Gate(closed=True), Gate(closed=True)
        lanes = [RunLane(wide, places=1, cores=2), RunLane(narrow, places=2, cores=1)]
        scheduler = Scheduler(lanes, SchedulingPolicy(max_batch_size=8, merge_rows=1), cores=2)
        try:
            tasks = [send(scheduler, value) for value in range(5)]
            await settle()
            wide.open()
            await tasks[0]
            assert scheduler.pending == 2
            narrow.open(1)
            await tasks[1]
            assert scheduler.pending == 1
            narrow.open()
            await asyncio.gather(*tasks)
            assert wide.batches == [[0]]
            assert sorted(narrow.batches) == [[1], [2], [3], [4]]
            await send(scheduler, 5)
            assert wide.batches == [[0], [5]]
        finally:
            wide.open()
            narrow.open()
            scheduler.close()

    asyncio.run(scenario())


def test_those_who_wait_are_divided_among_the_lanes() -> None:
    """Where batches pay, each narrow lane gets its share of them, and none all."""

    async def scenario() -> None:
        wide, narrow = Gate(closed=True), Gate()
        lanes = [RunLane(wide, places=1, cores=2), RunLane(narrow, places=2, cores=1)]
        scheduler = Scheduler(lanes, SchedulingPolicy(max_batch_size=8, merge_rows=8), cores=2)
        try:
            tasks = [send(scheduler, value) for value in range(7)]
            await settle()
            wide.open()
            await asyncio.gather(*tasks)
            assert sorted(narrow.batches)[0] == [1, 2, 3]
        finally:
            wide.open()
            scheduler.close()

    asyncio.run(scenario())


def test_the_next_batch_starts_while_the_event_loop_is_busy() -> None:
    """The thread that ends a run takes the next request itself."""
    ran = threading.Semaphore(0)

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        ran.release()
        return dict.fromkeys(outputs, inputs["x"])

    async def scenario() -> None:
        scheduler = Scheduler([RunLane(run)], SchedulingPolicy(max_batch_size=1))
        tasks = [asyncio.create_task(scheduler.submit(rows(value), ["y"])) for value in range(3)]
        await settle()
        for _ in range(3):  # the loop does nothing else meanwhile
            assert ran.acquire(timeout=10)
        await asyncio.gather(*tasks)
        scheduler.close()

    asyncio.run(scenario())
