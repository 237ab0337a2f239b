"""Batches of a plain function: who shares one, when it runs, and who gets which rows."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=100)
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
