"""Who goes next: priorities, timeouts, preferred sizes and order, with a plain function."""

import asyncio
from typing import Any

import pytest
from google.protobuf import text_format

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import DeadlineExceeded, LoadError, QueueFull
from crossrun_server.model_config import completion
from crossrun_server.scheduling.queueing import QueuePolicy, SchedulingPolicy
from crossrun_server.scheduling.scheduler import Scheduler
from crossrun_server.tensors.tensor_spec import TensorSpec
from tests.support.gate import Gate, doubled, play, send, settle

FOR_EVER = 3600  # seconds: a delay that no test waits for
REJECTING = QueuePolicy(timeout=10_000)
DELAYING = QueuePolicy(timeout=FOR_EVER * 10**6, allow_timeout_override=True, delay_expired=True)


def test_higher_priorities_go_first() -> None:
    """Level by level; within a level in order of arrival."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i, priority=p) for i, p in enumerate((3, 3, 2, 1, 2, 1))]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    policy = SchedulingPolicy(priority_levels=3, default_priority=2)
    assert play(scenario, policy, closed=True).batches == [[0], [3], [5], [2], [4], [1]]


def test_a_priority_that_there_is_not_is_the_default_one() -> None:
    """No priority and one above the levels wait as the default level does."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i, priority=p) for i, p in enumerate((2, 3, 0, 2, 9, 1))]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    policy = SchedulingPolicy(priority_levels=3, default_priority=2)
    assert play(scenario, policy, closed=True).batches == [[0], [5], [2], [3], [4], [1]]


def test_without_levels_priorities_change_nothing() -> None:
    """Requests go in order of arrival, whatever priority they ask for."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i, priority=9 - i) for i in range(4)]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    assert play(scenario, SchedulingPolicy(), closed=True).batches == [[0], [1], [2], [3]]


def test_lower_priorities_fill_up_a_batch() -> None:
    """The highest goes first and takes along whom it has room for."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i, priority=p) for i, p in enumerate((1, 2, 2, 1))]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    policy = SchedulingPolicy(max_batch_size=2, priority_levels=2, default_priority=1)
    assert play(scenario, policy, closed=True).batches == [[0], [3, 1], [2]]


def test_each_level_has_its_own_limit() -> None:
    """A full level refuses, and says which it is, while another still takes requests."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i, priority=2) for i in range(2)]
        await settle()
        with pytest.raises(QueueFull, match=r"the queue of priority 2 is full \(1 requests wait"):
            await send(scheduler, 2, priority=2)
        tasks += [send(scheduler, i, priority=1) for i in (3, 4)]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    policy = SchedulingPolicy(
        priority_levels=2, default_priority=2, queues={2: QueuePolicy(size=1)}
    )
    assert play(scenario, policy, closed=True).batches == [[0], [3], [4], [1]]


def test_a_request_that_waits_too_long_is_refused() -> None:
    """It is told so while the instance is still busy; a run is never cut short."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        running = send(scheduler, 0)
        await settle()
        with pytest.raises(DeadlineExceeded, match="queue's timeout of 10000 microseconds"):
            await send(scheduler, 1)
        gate.open()
        assert doubled(await running) == [0]
        await scheduler.drain()

    policy = SchedulingPolicy(max_batch_size=8, queue=REJECTING)
    assert play(scenario, policy, closed=True).batches == [[0]]


def test_a_timeout_shorter_than_the_delay_refuses_too() -> None:
    """Whoever waits for company only, before an idle instance, waits no longer either."""

    async def scenario(scheduler: Scheduler, _: Gate) -> None:
        with pytest.raises(DeadlineExceeded, match="queue's timeout"):
            await send(scheduler, 1)

    policy = SchedulingPolicy(max_batch_size=8, max_queue_delay=FOR_EVER, queue=REJECTING)
    assert play(scenario, policy).batches == []


@pytest.mark.parametrize(
    ("policy", "asked", "counts"),
    [
        (QueuePolicy(timeout=1000, allow_timeout_override=True), 5, 5),
        (QueuePolicy(timeout=1000, allow_timeout_override=True), 2000, 1000),
        (QueuePolicy(timeout=1000, allow_timeout_override=True), 0, 1000),
        (QueuePolicy(timeout=1000), 5, 1000),
        (QueuePolicy(timeout=0, allow_timeout_override=True), 5, 0),
    ],
)
def test_a_request_may_shorten_its_timeout_where_it_is_allowed(
    policy: QueuePolicy, asked: int, counts: int
) -> None:
    """Never lengthen it, and never set one where the queue has none."""
    assert policy.timeout_for(asked) == counts


def test_an_expired_request_goes_behind_the_others_of_its_level() -> None:
    """With DELAY it is answered, after those of its level and before those of a lower one."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, 0, priority=1)]
        tasks += [send(scheduler, i, priority=1, timeout=1) for i in (1, 2)]
        tasks += [send(scheduler, i, priority=2) for i in (3,)]
        tasks += [send(scheduler, i, priority=1) for i in (4,)]
        await settle()
        await asyncio.sleep(0.001)  # longer than the timeout of 1 microsecond
        gate.open()
        assert [doubled(await task) for task in tasks] == [[0], [2], [4], [6], [8]]

    policy = SchedulingPolicy(priority_levels=2, default_priority=1, queue=DELAYING)
    assert play(scenario, policy, closed=True).batches == [[0], [4], [1], [2], [3]]


def test_a_batch_of_a_preferred_size_goes_at_once() -> None:
    """Whoever comes after it waits for the next one."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i) for i in range(4)]
        assert [(await task).batch for task in tasks[:3]] == [3, 3, 3]
        assert not tasks[3].done()
        tasks += [send(scheduler, i) for i in (4, 5)]
        assert (await tasks[3]).batch == 3
        assert gate.batches == [[0, 1, 2], [3, 4, 5]]

    sizes = frozenset({3})
    play(scenario, SchedulingPolicy(8, max_queue_delay=FOR_EVER, preferred_batch_sizes=sizes))


def test_the_largest_preferred_size_wins() -> None:
    """Of all that wait, as many go as make a preferred size; without a delay the rest follows."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, i) for i in range(8)]
        await settle()
        gate.open()
        await asyncio.gather(*tasks)

    policy = SchedulingPolicy(max_batch_size=8, preferred_batch_sizes=frozenset({2, 4}))
    batches = play(scenario, policy, closed=True).batches
    assert batches == [[0], [1, 2, 3, 4], [5, 6], [7]]


def test_after_the_delay_the_largest_batch_goes() -> None:
    """Who has waited for a preferred size long enough takes along everybody there is room for."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, 0, 1, 2, 3), *(send(scheduler, i) for i in range(4, 10))]
        await settle()
        await asyncio.sleep(0.01)
        gate.open()
        await asyncio.gather(*tasks)
        replies = await asyncio.gather(send(scheduler, 0, 1), send(scheduler, 2, 3, 4))
        assert [reply.batch for reply in replies] == [2, 2]

    policy = SchedulingPolicy(8, max_queue_delay=0.01, preferred_batch_sizes=frozenset({4}))
    batches = play(scenario, policy, closed=True).batches
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("values", "width"), [((4, 5), 1), ((4,), 2)])
def test_a_batch_that_cannot_grow_goes_at_once(values: tuple[int, ...], width: int) -> None:
    """Somebody waits whom it has no room for, or who does not fit: more delay gains nothing."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        first, second = send(scheduler, 1, 2, 3), send(scheduler, *values, width=width)
        assert (await first).batch == 1
        assert not second.done()
        assert gate.batches == [[1, 2, 3]]

    play(scenario, SchedulingPolicy(max_batch_size=4, max_queue_delay=FOR_EVER))


@pytest.mark.parametrize(("ordered", "expected"), [(True, [0, 1, 2]), (False, [1, 2, 0])])
def test_answers_leave_in_order_where_they_are_told_to(ordered: bool, expected: list[int]) -> None:
    """A later request that was run first, or failed first, waits for those before it."""
    answered: list[int] = []

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        tasks = [send(scheduler, value) for value in (0, 1, 13)]
        for task in tasks:
            task.add_done_callback(lambda task: answered.append(tasks.index(task)))
        await settle()
        gate.open(1, 13)
        for _ in tasks[1:]:
            await gate.executions.get()
        while not ordered and len(answered) < 2:
            await settle()
        gate.open()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[2], ValueError)
        await settle()

    policy = SchedulingPolicy(max_batch_size=8, preserve_ordering=ordered)
    batches = play(scenario, policy, closed=True, instances=2).batches
    assert batches == [[1], [13], [0]]
    assert answered == expected


def test_who_leaves_the_line_holds_nobody_up() -> None:
    """Where the order is preserved, the first one's leaving lets the others have their answers."""

    async def scenario(scheduler: Scheduler, gate: Gate) -> None:
        first, second = send(scheduler, 0), send(scheduler, 1)
        await settle()
        gate.open(1)
        await gate.executions.get()
        await settle()
        assert not second.done()
        first.cancel()
        assert doubled(await second) == [2]

    policy = SchedulingPolicy(max_batch_size=8, preserve_ordering=True)
    play(scenario, policy, closed=True, instances=2)


def served(text: str, max_batch_size: int = 8) -> SchedulingPolicy:
    """The policy of a batched model with this dynamic_batching."""
    proto = text_format.Parse(f"dynamic_batching {{ {text} }}", pb.ModelConfig(name="m"))
    proto.max_batch_size = max_batch_size
    spec = TensorSpec("x", "FP32", (-1, 2))
    return completion.complete(proto, "m", [spec], [spec]).policy


def test_dynamic_batching_is_read() -> None:
    """Every field arrives; what is not said has the server's defaults."""
    assert served("") == SchedulingPolicy(8)
    assert served("", 0) == SchedulingPolicy(0)
    assert served(
        "preferred_batch_size: [2, 4] max_queue_delay_microseconds: 100 "
        "priority_levels: 3 default_priority_level: 2 "
        "default_queue_policy { default_timeout_microseconds: 5 allow_timeout_override: true } "
        "priority_queue_policy { key: 3 value { "
        "  max_queue_size: 7 timeout_action: DELAY default_timeout_microseconds: 9 } }"
    ) == SchedulingPolicy(
        8,
        max_queue_delay=1e-4,
        preferred_batch_sizes=frozenset({2, 4}),
        priority_levels=3,
        default_priority=2,
        queue=QueuePolicy(0, 5, allow_timeout_override=True),
        queues={3: QueuePolicy(7, 9, delay_expired=True)},
    )
    assert served("preserve_ordering: true").preserve_ordering


def test_without_dynamic_batching_nothing_is_merged() -> None:
    """A model that only has a batch size runs each request alone."""
    spec = TensorSpec("x", "FP32", (-1, 2))
    proto = pb.ModelConfig(name="m", max_batch_size=8)
    assert completion.complete(proto, "m", [spec], [spec]).policy == SchedulingPolicy(
        8, merge=False
    )


LEVELS = "priority_levels: 2 default_priority_level: 1 "
DELAY = "{ timeout_action: DELAY default_timeout_microseconds: 1 }"
CONTRADICTIONS = {
    "size above the maximum": (
        "preferred_batch_size: [2, 9]",
        "preferred_batch_size is 9, expected 1 to max_batch_size, 8",
    ),
    "size of zero": ("preferred_batch_size: 0", "preferred_batch_size is 0, expected 1 to"),
    "no default level": ("priority_levels: 2", "default_priority_level is 0, expected 1 to"),
    "default level above": (
        "priority_levels: 2 default_priority_level: 3",
        "default_priority_level is 3, expected 1 to priority_levels, 2",
    ),
    "policy of level zero": (
        LEVELS + "priority_queue_policy { key: 0 value {} }",
        "priority_queue_policy has the level 0, expected 1 to priority_levels, 2",
    ),
    "policy of a level above": (
        LEVELS + "priority_queue_policy { key: 3 value {} }",
        "priority_queue_policy has the level 3",
    ),
    "order and levels": (
        LEVELS + "preserve_ordering: true",
        "preserve_ordering contradicts priority_levels, 2; expected at most one level",
    ),
    "order and delay": (
        "preserve_ordering: true default_queue_policy " + DELAY,
        "preserve_ordering contradicts default_queue_policy.timeout_action, DELAY",
    ),
    "order and delay of a level": (
        "preserve_ordering: true priority_levels: 1 default_priority_level: 1 "
        f"priority_queue_policy {{ key: 1 value {DELAY} }}",
        "preserve_ordering contradicts priority_queue_policy[1].timeout_action, DELAY",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_named(case: str) -> None:
    """What Triton refuses is refused, with the field and what was expected."""
    text, expected = CONTRADICTIONS[case]
    with pytest.raises(LoadError) as caught:
        served(text)
    assert str(caught.value).startswith("dynamic_batching.")
    assert expected in str(caught.value)


def test_a_preferred_size_needs_a_batch() -> None:
    """Where the first dimension is no batch, no size can be preferred."""
    with pytest.raises(LoadError, match="preferred_batch_size is 1, expected 1 to max_batch_size"):
        served("preferred_batch_size: 1", 0)


@pytest.mark.parametrize(
    ("text", "field", "without"),
    [
        ("default_priority_level: 1", "default_priority_level", "priority_levels"),
        ("priority_queue_policy { key: 1 value { max_queue_size: 1 } }",
         "priority_queue_policy", "priority_levels"),
        ("default_queue_policy { allow_timeout_override: true }",
         "default_queue_policy.allow_timeout_override", "default_timeout_microseconds"),
        ("default_queue_policy { timeout_action: DELAY }",
         "default_queue_policy.timeout_action", "default_timeout_microseconds"),
    ],
)  # fmt: skip
def test_a_field_that_says_nothing_alone_is_logged(
    text: str, field: str, without: str, caplog: Any
) -> None:
    """What Triton passes over in silence is passed over aloud."""
    assert served(text).queues == {}
    told = f"m: dynamic_batching.{field} in config.pbtxt has no effect without {without}"
    assert told in caplog.messages
