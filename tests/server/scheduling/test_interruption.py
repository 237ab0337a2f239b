"""Runs that nobody waits for any more, with a plain function that waits until it is ended."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence

import pytest

from crossrun_server.errors import DeadlineExceeded
from crossrun_server.scheduling.batching import InferenceRequest, Reply, Result, Tensors, execute
from crossrun_server.scheduling.interruption import ended_by
from crossrun_server.scheduling.places import Lane
from crossrun_server.scheduling.queueing import SchedulingPolicy
from crossrun_server.scheduling.scheduler import Scheduler
from tests.support.gate import doubled, rows, send, settle

LONG = 100  # values from here on run until they are ended


class Long:
    """Doubles its input; a batch with a value of LONG or more runs until it is ended."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)  # released once by each run
        self.batches: list[list[int]] = []  # those that were not ended
        self.ended = 0

    def __call__(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        values, ended = inputs["x"][:, 0].tolist(), threading.Event()

        def end() -> None:
            self.ended += 1
            ended.set()

        ended_by(end)
        self.begun.release()
        if max(values) >= LONG:
            ended.wait()
            raise RuntimeError("ended")
        self.batches.append(values)
        return dict.fromkeys(outputs, inputs["x"] * 2)


Scenario = Callable[[Scheduler, Long], Awaitable[None]]


def play(scenario: Scenario, policy: SchedulingPolicy | None = None) -> list[list[int]]:
    """Run a scenario; returns the batches that ran to their end."""

    async def run() -> list[list[int]]:
        long = Long()
        scheduler = Scheduler([Lane(long)], policy or SchedulingPolicy(max_batch_size=8))
        await scenario(scheduler, long)
        await scheduler.drain()
        scheduler.close()
        return long.batches

    return asyncio.run(run())


async def begun(long: Long) -> None:
    """Wait until the next run has begun."""
    await asyncio.to_thread(long.begun.acquire)


def test_a_run_ends_with_its_only_caller() -> None:
    """The next request has the place at once, and not when the run would have ended."""

    async def scenario(scheduler: Scheduler, long: Long) -> None:
        gone = send(scheduler, LONG)
        await begun(long)
        patient = send(scheduler, 1)
        await settle()
        gone.cancel()
        assert doubled(await patient) == [2]

    assert play(scenario) == [[1]]


def test_a_run_ends_with_the_deadline_of_its_only_caller() -> None:
    """The caller is told that it is late, and the next request has the place."""

    async def scenario(scheduler: Scheduler, _: Long) -> None:
        deadline = asyncio.get_running_loop().time() + 0.05
        late = asyncio.create_task(scheduler.submit(rows(LONG), ["y"], deadline))
        await settle()
        patient = send(scheduler, 1)
        with pytest.raises(DeadlineExceeded):
            await late
        assert doubled(await patient) == [2]

    assert play(scenario) == [[1]]


def test_a_batch_runs_on_while_anybody_waits_for_it() -> None:
    """Who leaves ends nothing for the others; the last who leaves ends the run."""

    async def scenario(scheduler: Scheduler, long: Long) -> None:
        tasks = [send(scheduler, LONG + i) for i in range(3)]
        await begun(long)  # a full batch
        for task in tasks[:2]:
            task.cancel()
            await settle()
            assert long.ended == 0
        patient = send(scheduler, 1, 2, 3)
        tasks[2].cancel()
        assert doubled(await patient) == [2, 4, 6]

    policy = SchedulingPolicy(max_batch_size=3, max_queue_delay=3600)  # only full batches go
    assert play(scenario, policy) == [[1, 2, 3]]


def posted(value: int, answers: list[Result], *, left: bool = False) -> InferenceRequest:
    return InferenceRequest(
        inputs=rows(value), outputs=("y",), rows=1, answer=answers.append, has_left=lambda: left
    )


def test_what_nobody_waits_for_does_not_begin() -> None:
    """A caller who has left since the batch was chosen costs no run."""
    long, answers = Long(), list[Result]()
    (result,), (execution,) = execute(long, [posted(1, answers, left=True)])
    assert isinstance(result, DeadlineExceeded)
    assert execution.failed
    assert long.batches == []


def test_those_who_have_left_a_batch_that_fails_are_not_run_again() -> None:
    """Only requests that somebody waits for are run alone."""
    alone: list[list[int]] = []

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        if len(inputs["x"]) > 1:
            raise RuntimeError("no batches")
        alone.append(inputs["x"][:, 0].tolist())
        return dict.fromkeys(outputs, inputs["x"] * 2)

    batch = [posted(value, [], left=value == 2) for value in (1, 2, 3)]
    results, _ = execute(run, batch)
    assert [doubled(result) for result in results if isinstance(result, Reply)] == [[2], [6]]
    assert alone == [[1], [3]]


def test_a_run_that_has_ended_is_ended_no_more() -> None:
    """A caller who leaves with its answer cannot hit the run that has its place by now."""
    ended: list[int] = []

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        ended_by(lambda: ended.append(1))
        return dict.fromkeys(outputs, inputs["x"] * 2)

    scheduler = Scheduler([Lane(run)], SchedulingPolicy(max_batch_size=8))
    waits = [True]
    request = InferenceRequest(
        rows(1), ("y",), 1, answer=lambda _: None, has_left=lambda: not waits[0]
    )
    scheduler.post(request)
    waits[0] = False
    scheduler.forget(request)
    scheduler.close()
    assert ended == []


def test_a_warm_up_is_nobodys() -> None:
    """A run that no request waits for has nothing to end it."""
    ended_by(pytest.fail)


def test_a_request_is_released_once_it_is_answered() -> None:
    """Its arrays go without a garbage collection, though its run referred to it."""
    gc.disable()
    try:
        request = posted(1, [])
        execute(lambda inputs, outputs: dict.fromkeys(outputs, inputs["x"]), [request])
        released = weakref.ref(request)
        del request
        assert released() is None
    finally:
        gc.enable()


def test_who_is_late_in_a_run_that_is_ended_is_told_so() -> None:
    """The error of what was ended is nobody's: the caller may not have heard yet why it is late."""
    waits = [True]
    request = InferenceRequest(
        rows(1), ("y",), 1, answer=lambda _: None, has_left=lambda: not waits[0]
    )

    def run(_: Tensors, __: Sequence[str]) -> Tensors:
        waits[0] = False
        assert request.interruption
        request.interruption.look()
        raise RuntimeError("ended")

    (result,), _ = execute(run, [request])
    assert isinstance(result, DeadlineExceeded)
