"""The scheduler with a plain function for a model: no gRPC, no onnxruntime."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossrun_server.errors import DeadlineExceeded, QueueFull
from crossrun_server.scheduler import Policy, QueuePolicy, Reply, Scheduler, Tensors


class Gate:
    """A model that doubles its input; each run waits until it is let through."""

    def __init__(self, *, closed: bool = False) -> None:
        self.batches: list[list[int]] = []
        self._open = threading.Event()
        if not closed:
            self._open.set()

    def open(self) -> None:
        self._open.set()

    def __call__(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        self._open.wait()
        self.batches.append(inputs["x"][:, 0].tolist())
        if 13 in inputs["x"]:
            raise ValueError("thirteen")
        return dict.fromkeys(outputs, inputs["x"] * 2)


def rows(*values: int, width: int = 1) -> Tensors:
    return {"x": np.repeat(np.array(values)[:, np.newaxis], width, axis=1)}


def doubled(reply: Reply) -> list[int]:
    return [int(row[0]) for row in reply.outputs["y"]]


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


Scenario = Callable[[Scheduler, Gate], Awaitable[None]]


def play(scenario: Scenario, policy: Policy, *, closed: bool = False) -> Gate:
    """Run a scenario against a scheduler; whatever happens, its thread comes free."""

    async def run() -> Gate:
        gate = Gate(closed=closed)
        scheduler = Scheduler([gate], policy)
        try:
            await scenario(scheduler, gate)
        finally:
            gate.open()
            scheduler.close()
        return gate

    return asyncio.run(run())


def test_requests_that_wait_together_run_together() -> None:
    """Whoever arrives while the session is busy shares the next batch, in order of arrival."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i), ["y"])) for i in range(4)]
        await settle()
        gate.open()
        replies = await asyncio.gather(*tasks)
        assert [doubled(reply) for reply in replies] == [[0], [2], [4], [6]]
        assert [reply.batch for reply in replies] == [1, 3, 3, 3]

    assert play(scenario, Policy(max_batch_size=8), closed=True).batches == [[0], [1, 2, 3]]


def test_a_batch_never_exceeds_its_size() -> None:
    """Rows count, not requests: what does not fit waits for the next batch."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        sent = [rows(0), rows(1, 2, 3), rows(4, 5), rows(6)]
        tasks = [asyncio.create_task(scheduler.submit(inputs, ["y"])) for inputs in sent]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    batches = play(scenario, Policy(max_batch_size=4), closed=True).batches
    assert batches == [[0], [1, 2, 3, 6], [4, 5]]


def test_without_batching_each_request_runs_alone() -> None:
    """A model whose first dimension is no batch never sees two requests joined."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i, i), ["y"])) for i in range(3)]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    assert play(scenario, Policy(), closed=True).batches == [[0, 0], [1, 1], [2, 2]]


def test_unlike_requests_do_not_share_a_batch() -> None:
    """Other shapes past the first dimension, or other outputs, make another batch."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        sent = [(rows(0), "y"), (rows(1), "y"), (rows(2, width=3), "y"), (rows(3), "z")]
        tasks = [asyncio.create_task(scheduler.submit(x, [name])) for x, name in sent]
        await settle()
        gate.open()
        replies = await asyncio.gather(*tasks)
        assert [list(reply.outputs) for reply in replies] == [["y"], ["y"], ["y"], ["z"]]

    assert play(scenario, Policy(max_batch_size=8), closed=True).batches == [[0], [1], [2], [3]]


def test_a_lone_request_waits_no_longer_than_the_queue_delay() -> None:
    """With a delay the oldest request waits for company, and runs alone where none comes."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        first = asyncio.create_task(scheduler.submit(rows(1), ["y"]))
        await settle()
        assert gate.batches == []
        second = asyncio.create_task(scheduler.submit(rows(2), ["y"]))
        assert (await first).batch == (await second).batch == 2
        assert (await scheduler.submit(rows(3), ["y"])).batch == 1

    play(scenario, Policy(max_batch_size=8, max_queue_delay=0.05))


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    """Once the batch is full there is nobody left to wait for."""

    async def scenario(scheduler: Scheduler, _: Gate) -> None:
        reply = await scheduler.submit(rows(1, 2), ["y"])
        assert doubled(reply) == [2, 4]

    play(scenario, Policy(max_batch_size=2, max_queue_delay=3600))


def test_a_full_queue_answers_at_once() -> None:
    """The request over the limit is refused while those before it are still waiting."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [asyncio.create_task(scheduler.submit(rows(i), ["y"])) for i in range(3)]
        await settle()
        with pytest.raises(QueueFull, match="2 requests wait"):
            await scheduler.submit(rows(3), ["y"])
        gate.open()
        assert len(await asyncio.gather(*tasks)) == 3

    play(scenario, Policy(max_batch_size=8, queue=QueuePolicy(size=2)), closed=True)


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

    assert play(scenario, Policy(max_batch_size=8), closed=True).batches == [[0], [2]]


def test_a_deadline_that_has_passed_costs_nothing() -> None:
    """A request that arrives too late is refused before it is run, on an idle session too."""

    async def scenario(scheduler: Scheduler, _: Gate) -> None:
        with pytest.raises(DeadlineExceeded):
            await scheduler.submit(rows(1), ["y"], deadline=asyncio.get_running_loop().time() - 1)

    assert play(scenario, Policy(max_batch_size=8)).batches == []


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

    policy = Policy(max_batch_size=8, queue=QueuePolicy(size=1))
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

    policy = Policy(max_batch_size=8, max_queue_delay=0.02)
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

    play(scenario, Policy(max_batch_size=8), closed=True)


def test_an_output_that_lost_its_rows_is_an_error() -> None:
    """A model that claims to batch and does not is told apart, not sliced wrongly."""

    def summed(inputs: Tensors, outputs: Sequence[str]) -> Tensors:  # noqa: ARG001
        return {"y": inputs["x"].sum(axis=0, keepdims=True)}

    async def run() -> list[Reply]:
        scheduler = Scheduler([summed], Policy(max_batch_size=8, max_queue_delay=0.02))
        replies = await asyncio.gather(*(scheduler.submit(rows(i), ["y"]) for i in (1, 2)))
        scheduler.close()
        return replies

    assert [doubled(reply) for reply in asyncio.run(run())] == [[1], [2]]


requests = st.lists(
    st.tuples(
        st.lists(st.integers(0, 12), min_size=1, max_size=4),  # rows
        st.sampled_from([1, 2]),  # width, so that some requests do not fit together
        st.booleans(),  # leaves while waiting
        st.integers(0, 2),  # turns of the event loop before the next arrives
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(4, 8), st.sampled_from([0.0, 0.001]))
def test_everybody_gets_their_own_rows(
    sent: list[tuple[list[int], int, bool, int]], max_batch_size: int, delay: float
) -> None:
    """Whatever arrives, in whatever order, leaves or stays: answers are one's own, none is lost."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = []
        for values, width, _, turns in sent:
            submitted = scheduler.submit(rows(*values, width=width), ["y"])
            tasks.append(asyncio.create_task(submitted))
            for _ in range(turns):
                await asyncio.sleep(0)
        for task, (_, _, leaves, _) in zip(tasks, sent, strict=True):
            if leaves:
                task.cancel()
        gate.open()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result, (values, width, leaves, _) in zip(results, sent, strict=True):
            if isinstance(result, Reply):
                assert doubled(result) == [2 * value for value in values]
                assert result.outputs["y"].shape == (len(values), width)
            else:
                assert leaves
                assert isinstance(result, asyncio.CancelledError)

    gate = play(scenario, Policy(max_batch_size, delay), closed=True)
    assert all(len(batch) <= max_batch_size for batch in gate.batches)
