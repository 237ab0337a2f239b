"""The scheduler with a plain function for a model: no gRPC, no onnxruntime."""

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossrun_server.errors import DeadlineExceeded, ModelUnavailable, QueueFull
from crossrun_server.scheduling.batching import Reply, Tensors
from crossrun_server.scheduling.places import Lane
from crossrun_server.scheduling.queueing import QueuePolicy, SchedulingPolicy
from crossrun_server.scheduling.scheduler import Scheduler
from crossrun_server.tensors.tensor_spec import Array
from tests.support.gate import Gate, doubled, play, rows, send, settle


def test_requests_that_wait_together_run_together() -> None:
    """Whoever arrives while the session is busy shares the next batch, in order of arrival."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i), ["y"])) for i in range(4)]
        await settle()
        gate.open()
        replies = await asyncio.gather(*tasks)
        assert [doubled(reply) for reply in replies] == [[0], [2], [4], [6]]
        assert [reply.batch for reply in replies] == [1, 3, 3, 3]

    assert play(scenario, SchedulingPolicy(max_batch_size=8), closed=True).batches == [
        [0],
        [1, 2, 3],
    ]


def test_a_batch_never_exceeds_its_size() -> None:
    """Rows count, not requests: what does not fit waits for the next batch."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        sent = [rows(0), rows(1, 2, 3), rows(4, 5), rows(6)]
        tasks = [asyncio.create_task(scheduler.submit(inputs, ["y"])) for inputs in sent]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    batches = play(scenario, SchedulingPolicy(max_batch_size=4), closed=True).batches
    assert batches == [[0], [1, 2, 3, 6], [4, 5]]


def test_without_batching_each_request_runs_alone() -> None:
    """A model whose first dimension is no batch never sees two requests joined."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i, i), ["y"])) for i in range(3)]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    assert play(scenario, SchedulingPolicy(), closed=True).batches == [[0, 0], [1, 1], [2, 2]]


def test_unlike_requests_do_not_share_a_batch() -> None:
    """Other shapes past the first dimension, or other outputs, make another batch."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        sent = [(rows(0), "y"), (rows(1), "y"), (rows(2, width=3), "y"), (rows(3), "z")]
        tasks = [asyncio.create_task(scheduler.submit(x, [name])) for x, name in sent]
        await settle()
        gate.open()
        replies = await asyncio.gather(*tasks)
        assert [list(reply.outputs) for reply in replies] == [["y"], ["y"], ["y"], ["z"]]

    assert play(scenario, SchedulingPolicy(max_batch_size=8), closed=True).batches == [
        [0],
        [1],
        [2],
        [3],
    ]


def test_a_lone_request_waits_no_longer_than_the_queue_delay() -> None:
    """With a delay the oldest request waits for company, and runs alone where none comes."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        first = asyncio.create_task(scheduler.submit(rows(1), ["y"]))
        await settle()
        assert gate.batches == []
        second = asyncio.create_task(scheduler.submit(rows(2), ["y"]))
        assert (await first).batch == (await second).batch == 2
        assert (await scheduler.submit(rows(3), ["y"])).batch == 1

    play(scenario, SchedulingPolicy(max_batch_size=8, max_queue_delay=0.05))


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    """Once the batch is full there is nobody left to wait for."""

    async def scenario(scheduler: Scheduler, _: Gate) -> None:
        reply = await scheduler.submit(rows(1, 2), ["y"])
        assert doubled(reply) == [2, 4]

    play(scenario, SchedulingPolicy(max_batch_size=2, max_queue_delay=3600))


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
        await settle()  # a queue delay joins all three; then the batch starts
        await asyncio.sleep(0.1)
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


def test_an_output_that_lost_its_rows_is_an_error() -> None:
    """A model that claims to batch and does not is told apart, not sliced wrongly."""

    def summed(inputs: Tensors, outputs: Sequence[str]) -> Tensors:  # noqa: ARG001
        return {"y": inputs["x"].sum(axis=0, keepdims=True)}

    async def run() -> list[Reply]:
        scheduler = Scheduler(
            [Lane(summed)], SchedulingPolicy(max_batch_size=8, max_queue_delay=0.02)
        )
        replies = await asyncio.gather(*(scheduler.submit(rows(i), ["y"]) for i in (1, 2)))
        scheduler.close()
        return replies

    assert [doubled(reply) for reply in asyncio.run(run())] == [[1], [2]]


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


def test_the_delay_of_the_next_batch_begins_while_the_first_runs() -> None:
    """Who could not join a batch goes to another instance once its own delay is over."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        first, second = send(scheduler, 1, 2, 3), send(scheduler, 4, 5)
        await settle()
        gate.open(4)
        assert doubled(await second) == [8, 10]
        assert not first.done()

    policy = SchedulingPolicy(max_batch_size=4, max_queue_delay=0.01)
    play(scenario, policy, closed=True, instances=2)


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


@pytest.mark.parametrize(
    ("policy", "counted"),
    [(SchedulingPolicy(8, merge=False), [1, 3, 2]), (SchedulingPolicy(), [1, 1, 1])],
)
def test_rows_are_counted_where_no_batches_are_formed(
    policy: SchedulingPolicy, counted: list[int]
) -> None:
    """Without merging a request still has its rows; without a batch dimension it is one."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, *values) for values in ((0,), (1, 2, 3), (4, 5))]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)
        assert [gate.executions.get_nowait().rows for _ in tasks] == counted

    assert play(scenario, policy, closed=True).batches == [[0], [1, 2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("policy", "sent"),
    [
        (SchedulingPolicy(), [np.array(1.5), np.array(2.5)]),
        (
            SchedulingPolicy(3, 3600),
            [np.array(x, np.object_) for x in ([["é"], ["longer"]], [[""]])],
        ),
    ],
)
def test_scalars_and_strings_pass(policy: SchedulingPolicy, sent: list[Array]) -> None:
    """A tensor of rank 0 runs alone; strings are joined and taken apart as numbers are."""

    def same(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        return dict.fromkeys(outputs, inputs["x"])

    async def answers() -> list[Reply]:
        scheduler = Scheduler([Lane(same)], policy)
        replies = await asyncio.gather(*(scheduler.submit({"x": x}, ["y"]) for x in sent))
        scheduler.close()
        return replies

    answered = [reply.outputs["y"] for reply in asyncio.run(answers())]
    assert [x.tolist() for x in answered] == [x.tolist() for x in sent]


policies = st.builds(
    SchedulingPolicy,
    max_batch_size=st.integers(4, 8),
    max_queue_delay=st.sampled_from([0.0, 0.001]),
    merge=st.sampled_from([True, True, False]),
    preferred_batch_sizes=st.sampled_from([frozenset[int](), frozenset({2, 4})]),
    preserve_ordering=st.booleans(),
    priority_levels=st.just(3),
    default_priority=st.just(2),
    queue=st.builds(
        QueuePolicy,
        timeout=st.sampled_from([0, 1, 1000]),
        delay_expired=st.just(True),  # the others are refused, which a test of their own says
    ),
)
requests = st.lists(
    st.tuples(
        st.lists(st.integers(0, 12), min_size=1, max_size=4),  # rows
        st.sampled_from([1, 2]),  # width, so that some requests do not fit together
        st.booleans(),  # leaves while waiting
        st.integers(0, 2),  # turns of the event loop before the next arrives
        st.integers(0, 4),  # priority
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(requests, policies, st.integers(1, 3))
def test_everybody_gets_their_own_rows(
    sent: list[tuple[list[int], int, bool, int, int]], policy: SchedulingPolicy, instances: int
) -> None:
    """Whatever arrives, in whatever order, leaves or stays: answers are one's own, none is lost."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = []
        for values, width, _, turns, priority in sent:
            tasks.append(send(scheduler, *values, width=width, priority=priority))
            for _ in range(turns):
                await asyncio.sleep(0)
        for task, (_, _, leaves, _, _) in zip(tasks, sent, strict=True):
            if leaves:
                task.cancel()
        gate.open()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result, (values, width, leaves, _, _) in zip(results, sent, strict=True):
            if isinstance(result, Reply):
                assert doubled(result) == [2 * value for value in values]
                assert result.outputs["y"].shape == (len(values), width)
            else:
                assert leaves
                assert isinstance(result, asyncio.CancelledError)
        await scheduler.drain()

    gate = play(scenario, policy, closed=True, instances=instances)
    assert all(len(batch) <= policy.max_batch_size for batch in gate.batches)
