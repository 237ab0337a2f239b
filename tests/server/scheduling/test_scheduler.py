"""The scheduler with a plain function for a model: queue, deadlines, instances, drain."""

import asyncio
import math
import threading
import time
from collections.abc import Sequence

import pytest

from crossrun_server.errors import DeadlineExceeded, ModelUnavailable, QueueFull
from crossrun_server.scheduling.batching import Reply, Run, Tensors
from crossrun_server.scheduling.places import Lane
from crossrun_server.scheduling.queueing import QueuePolicy, SchedulingPolicy
from crossrun_server.scheduling.scheduler import Scheduler
from tests.support.gate import Gate, Scenario, doubled, play, rows, send, settle


def test_a_full_queue_answers_at_once() -> None:
    """The request over the limit is refused while those before it are still waiting."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i), ["y"])) for i in range(3)]
        await settle()
        with pytest.raises(QueueFull, match="2 requests wait"):
            await scheduler.submit(rows(3), ["y"])
        gate.open()
        assert len(await asyncio.gather(*tasks)) == 3

    play(scenario, SchedulingPolicy(max_batch_size=8, queue=QueuePolicy(size=2)), closed=True)


def taking(seconds: float, gate: Gate) -> Run:
    """A run that takes so long, and then as long as the gate says."""

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        time.sleep(seconds)
        return gate(inputs, outputs)

    return run


def play_measured(scenario: Scenario, *, max_wait: float = math.inf, seconds: float = 0.05) -> None:
    """Play with a model whose runs are known to take so long, or more, one row at a time."""

    async def run() -> None:
        gate = Gate()
        policy = SchedulingPolicy(max_batch_size=8, merge=False, max_wait=max_wait)
        scheduler = Scheduler([Lane(taking(seconds, gate))], policy)
        try:
            await send(scheduler, 0)
            gate.close()
            await scenario(scheduler, gate)
        finally:
            gate.open()
            scheduler.close()

    asyncio.run(run())


def test_who_would_wait_too_long_is_refused_when_it_comes() -> None:
    """With the time after which to come again; who waits for nobody is let in in any case."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        accepted = [send(scheduler, value) for value in (1, 2)]
        await settle()
        with pytest.raises(QueueFull, match="--max-queue-wait-ms") as caught:
            await send(scheduler, 3)
        assert 0.05 <= caught.value.retry_after < 60
        assert not any(task.done() for task in accepted)
        gate.open()
        assert [doubled(await task) for task in accepted] == [[2], [4]]

    play_measured(scenario, max_wait=0.001)


def test_a_queue_with_a_size_has_no_other_bound() -> None:
    """As many wait as its policy says, however long that takes."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        await send(scheduler, 0)
        gate.close()
        accepted = [send(scheduler, value) for value in range(4)]
        await settle()
        with pytest.raises(QueueFull, match="3 requests wait"):
            await send(scheduler, 5)
        gate.open()
        await asyncio.gather(*accepted)

    policy = SchedulingPolicy(
        max_batch_size=8, merge=False, max_wait=0.0, queue=QueuePolicy(size=3)
    )
    play(scenario, policy)


def test_who_cannot_be_in_time_for_others_is_refused_when_it_comes() -> None:
    """Its deadline is far, and those before it are too many."""

    async def scenario(scheduler: Scheduler, _: Gate) -> None:
        accepted = [send(scheduler, value) for value in range(1, 100)]
        await settle()
        soon = asyncio.get_running_loop().time() + 2
        with pytest.raises(QueueFull, match="its deadline is in"):
            await scheduler.submit(rows(100), ["y"], soon, connection="")
        assert not any(task.done() for task in accepted)

    play_measured(scenario)


def test_who_cannot_be_in_time_at_all_is_told_so_when_it_comes() -> None:
    """No run is so short: to come later would not help."""

    async def scenario(scheduler: Scheduler, _: Gate) -> None:
        running = send(scheduler, 1)
        await settle()
        soon = asyncio.get_running_loop().time() + 0.4
        with pytest.raises(DeadlineExceeded, match="and the model runs for"):
            await scheduler.submit(rows(2), ["y"], soon)
        assert not running.done()

    play_measured(scenario, seconds=0.5)


def test_what_was_measured_keeps_nobody_from_an_idle_lane() -> None:
    """A request whose deadline is nearer than any run was so far runs, and may be in time."""
    slow = [0.5, 0.0]

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        time.sleep(slow.pop(0))
        return dict.fromkeys(outputs, inputs["x"] * 2)

    async def scenario() -> None:
        scheduler = Scheduler([Lane(run)], SchedulingPolicy(max_batch_size=8, max_wait=0.0))
        await send(scheduler, 1)
        soon = asyncio.get_running_loop().time() + 0.4
        assert doubled(await scheduler.submit(rows(2), ["y"], soon)) == [4]
        scheduler.close()

    asyncio.run(scenario())


def test_who_waits_for_company_only_is_not_refused() -> None:
    """A place is idle, so nobody waits for others' runs, however long these are."""

    async def scenario() -> None:
        policy = SchedulingPolicy(max_batch_size=4, max_queue_delay=3600, max_wait=0.0)
        scheduler = Scheduler([Lane(taking(0.02, Gate()))], policy)
        for _ in range(2):
            replies = await asyncio.gather(*(send(scheduler, value) for value in range(4)))
            assert [doubled(reply) for reply in replies] == [[0], [2], [4], [6]]
        scheduler.close()

    asyncio.run(scenario())


def test_connections_take_turns() -> None:
    """One that asks one at a time has every second run beside one that has asked six times."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, value, connection="flood") for value in range(6)]
        await settle()
        tasks.append(send(scheduler, 9, connection="lone"))
        await settle()
        gate.open(0, 1)
        await asyncio.gather(*tasks[:2])
        tasks.append(send(scheduler, 8, connection="lone"))
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    batches = play(scenario, SchedulingPolicy(max_batch_size=8, merge=False), closed=True).batches
    assert batches == [[0], [1], [9], [2], [8], [3], [4], [5]]


def test_one_that_asks_once_is_let_in_where_a_flood_is_refused() -> None:
    """What counts is how long it would wait itself."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        accepted: list[asyncio.Task[Reply]] = []
        while not any(task.done() for task in accepted):
            accepted.append(send(scheduler, 1, connection="flood"))
            await settle()
        assert isinstance(accepted[-1].exception(), QueueFull)
        lone = send(scheduler, 2, connection="lone")
        await settle()
        gate.open()
        assert doubled(await lone) == [4]

    play_measured(scenario, max_wait=5.0, seconds=0.02)


def test_a_request_past_its_deadline_never_reaches_the_session() -> None:
    """It is answered when its time is up, and the batch runs without it."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        now = asyncio.get_running_loop().time()
        running = asyncio.create_task(scheduler.submit(rows(0), ["y"]))
        await settle()
        patient = asyncio.create_task(scheduler.submit(rows(2), ["y"]))
        with pytest.raises(DeadlineExceeded):
            await scheduler.submit(rows(1), ["y"], deadline=now + 0.01)
        gate.open()
        await asyncio.gather(running, patient)

    assert play(scenario, SchedulingPolicy(max_batch_size=8), closed=True).batches == [[0], [2]]


def test_a_deadline_that_has_passed_costs_nothing() -> None:
    """A request that arrives too late is refused before it is run, on an idle session too."""

    async def scenario(scheduler: Scheduler, _: Gate) -> None:
        with pytest.raises(DeadlineExceeded):
            await scheduler.submit(rows(1), ["y"], deadline=asyncio.get_running_loop().time() - 1)

    assert play(scenario, SchedulingPolicy(max_batch_size=8)).batches == []


def test_a_caller_who_leaves_the_queue_makes_room() -> None:
    """A cancelled request is not run and its place can be taken at once."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i), ["y"])) for i in range(2)]
        await settle()
        tasks[1].cancel()
        await settle()
        replacement = asyncio.create_task(scheduler.submit(rows(7), ["y"]))
        await settle()
        gate.open()
        assert doubled(await tasks[0]) == [0]
        assert doubled(await replacement) == [14]

    policy = SchedulingPolicy(max_batch_size=8, queue=QueuePolicy(size=1))
    assert play(scenario, policy, closed=True).batches == [[0], [7]]


def test_cancelling_one_caller_of_a_running_batch_harms_none_of_the_others() -> None:
    """The neighbours of a caller who leaves mid-run get their own rows."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i), ["y"])) for i in range(3)]
        while not gate.begun:  # a queue delay joins all three; then the batch starts
            await asyncio.sleep(0.001)
        tasks[1].cancel()
        await settle()
        gate.open()
        assert doubled(await tasks[0]) == [0]
        assert doubled(await tasks[2]) == [4]
        assert (await scheduler.submit(rows(5), ["y"])).batch == 1

    policy = SchedulingPolicy(max_batch_size=8, max_queue_delay=0.02)
    assert play(scenario, policy, closed=True).batches == [[0, 1, 2], [5]]


def test_a_request_that_makes_the_model_fail_fails_alone() -> None:
    """Where a batch fails each request of it runs alone, so neighbours are answered."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i), ["y"])) for i in (0, 1, 13, 3)]
        await settle()
        gate.open()
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        assert [doubled(r) for r in replies if isinstance(r, Reply)] == [[0], [2], [6]]
        assert isinstance(replies[2], ValueError)

    play(scenario, SchedulingPolicy(max_batch_size=8), closed=True)


def test_a_lone_request_goes_straight_to_an_idle_instance() -> None:
    """It runs before the event loop turns again: no hop through another task or callback."""
    started = threading.Event()

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        started.set()
        return dict.fromkeys(outputs, inputs["x"] * 2)

    async def scenario() -> None:
        scheduler = Scheduler([Lane(run)], SchedulingPolicy(max_batch_size=8))
        task = send(scheduler, 1)
        await asyncio.sleep(0)
        assert started.wait(60)
        assert doubled(await task) == [2]
        scheduler.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["leaves", "deadline", "timeout"])
def test_who_has_just_gone_takes_no_place(how: str) -> None:
    """Whoever left or ran out of time in this very turn of the loop is not joined any more."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        soon = asyncio.get_running_loop().time() + 0.01 if how == "deadline" else None
        timeout = 10_000 if how == "timeout" else 0
        gone = asyncio.create_task(scheduler.submit(rows(1), ["y"], soon, timeout=timeout))
        await settle()
        patient = send(scheduler, 2)  # with the first it would make a full batch
        if how == "leaves":
            gone.cancel()
        else:
            time.sleep(0.02)  # the loop is late: the timer has not rung yet
        await settle()
        assert gone.done()
        assert not patient.done()
        assert gate.batches == []

    queue = QueuePolicy(timeout=3600 * 10**6, allow_timeout_override=True)
    play(scenario, SchedulingPolicy(max_batch_size=2, max_queue_delay=3600, queue=queue))


def test_two_instances_run_at_once() -> None:
    """Two batches meet inside the model, each on a thread of its own."""
    meeting = threading.Barrier(2)
    threads = set()

    def run(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        meeting.wait(60)
        threads.add(threading.get_ident())
        return dict.fromkeys(outputs, inputs["x"] * 2)

    async def scenario() -> list[Reply]:
        scheduler = Scheduler([Lane(run), Lane(run)], SchedulingPolicy(max_batch_size=8))
        replies = await asyncio.gather(*(send(scheduler, i) for i in range(2)))
        scheduler.close()
        return replies

    assert [doubled(reply) for reply in asyncio.run(scenario())] == [[0], [2]]
    assert len(threads) == 2


def test_who_waits_goes_to_the_instance_that_comes_free() -> None:
    """While one instance is busy the others answer."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i) for i in range(4)]
        await settle()
        gate.open(1, 2)
        assert [doubled(await task) for task in tasks[1:]] == [[2], [4], [6]]
        assert not tasks[0].done()
        gate.open()
        assert doubled(await tasks[0]) == [0]

    policy = SchedulingPolicy(max_batch_size=8)
    batches = play(scenario, policy, closed=True, instances=2).batches
    assert batches == [[1], [2, 3], [0]]


def test_drain_waits_for_all_that_waits_or_runs() -> None:
    """It ends with the last run, even where nobody waits for that run's answer any more."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        await scheduler.drain()
        tasks = [send(scheduler, i) for i in range(3)]
        await settle()
        drained = asyncio.create_task(scheduler.drain())
        tasks[0].cancel()
        gate.open(0)
        assert (await gate.executions.get()).requests == 1
        await settle()
        assert not drained.done()
        while gate.begun < 2:  # what nobody waits for before it begins does not run
            await settle()
        tasks[1].cancel()
        tasks[2].cancel()
        await settle()
        assert not drained.done()
        gate.open(1)
        await drained
        assert gate.batches == [[0], [1, 2]]

    play(scenario, SchedulingPolicy(max_batch_size=8), closed=True)


def test_drain_ends_when_the_last_who_waits_leaves() -> None:
    """A queue that empties without a run is drained too."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i) for i in range(2)]
        await settle()
        drained = asyncio.create_task(scheduler.drain())
        tasks[0].cancel()
        await settle()
        assert not drained.done()
        tasks[1].cancel()
        await drained
        assert gate.batches == []

    play(scenario, SchedulingPolicy(max_batch_size=8, max_queue_delay=3600))


def test_a_closed_scheduler_refuses() -> None:
    """Whoever waits is told, whoever comes later too; what runs is finished."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        running, waiting = send(scheduler, 1), send(scheduler, 2)
        await settle()
        scheduler.close()
        with pytest.raises(ModelUnavailable, match="unloaded"):
            await waiting
        with pytest.raises(ModelUnavailable, match="no more requests"):
            await scheduler.submit(rows(3), ["y"])
        gate.open()
        assert doubled(await running) == [2]
        await scheduler.drain()

    assert play(scenario, SchedulingPolicy(max_batch_size=8), closed=True).batches == [[1]]


def test_every_run_is_told_of() -> None:
    """One Execution per run: a batch that fails, then each of its requests alone."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        sent = [(0,), (1, 2), (13,)]
        tasks = [send(scheduler, *values) for values in sent]
        await settle()
        gate.open()
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        told = [gate.executions.get_nowait() for _ in range(4)]
        assert [(e.rows, e.requests, e.failed) for e in told] == [
            (1, 1, False), (3, 2, True), (2, 1, False), (1, 1, True),
        ]  # fmt: skip
        assert told[1].input_ns > 0  # two requests were joined
        assert told[1].output_ns == 0  # it failed before
        for reply, execution in zip(replies[:2], (told[0], told[2]), strict=True):
            assert isinstance(reply, Reply)
            assert _phases(reply) == (execution.input_ns, execution.infer_ns, execution.output_ns)

    play(scenario, SchedulingPolicy(max_batch_size=8), closed=True)


def _phases(reply: Reply) -> tuple[int, int, int]:
    return reply.input_ns, reply.compute_ns, reply.output_ns
