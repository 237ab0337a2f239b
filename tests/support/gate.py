"""A model for the scheduler's tests: a plain function that runs when it is let through."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from crossrun_server.scheduling.batching import Execution, Reply, Tensors
from crossrun_server.scheduling.places import Lane
from crossrun_server.scheduling.queueing import SchedulingPolicy
from crossrun_server.scheduling.scheduler import Scheduler


class Gate:
    """Doubles its input; each run waits until the first value of its batch is let through."""

    def __init__(self, *, closed: bool = False) -> None:
        self.batches: list[list[int]] = []  # in the order in which they ran
        self.begun = 0  # batches that are at the gate, or through it
        self.executions: asyncio.Queue[Execution] = asyncio.Queue()
        self._open_to: set[int] = set()
        self._open = not closed
        self._changed = threading.Condition()

    def close(self) -> None:
        """Let nothing through any more."""
        with self._changed:
            self._open = False

    def open(self, *values: int) -> None:
        """Let the batches that begin with these values through, or all."""
        with self._changed:
            self._open_to |= set(values)
            self._open |= not values
            self._changed.notify_all()

    def __call__(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        values = inputs["x"][:, 0].tolist()
        with self._changed:
            self.begun += 1
            self._changed.wait_for(lambda: self._open or values[0] in self._open_to)
        self.batches.append(values)
        if 13 in inputs["x"]:
            raise ValueError("thirteen")
        return dict.fromkeys(outputs, inputs["x"] * 2)


def rows(*values: int, width: int = 1) -> Tensors:
    return {"x": np.repeat(np.array(values)[:, np.newaxis], width, axis=1)}


def doubled(reply: Reply) -> list[int]:
    return [int(row[0]) for row in reply.outputs["y"]]


def send(
    scheduler: Scheduler,
    *values: int,
    width: int = 1,
    priority: int = 0,
    timeout: int = 0,
    connection: str = "",
) -> asyncio.Task[Reply]:
    """Submit one request of these rows."""
    inputs = rows(*values, width=width)
    submitted = scheduler.submit(
        inputs, ["y"], priority=priority, timeout=timeout, connection=connection
    )
    return asyncio.create_task(submitted)


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


Scenario = Callable[[Scheduler, Gate], Awaitable[None]]


def play(
    scenario: Scenario, policy: SchedulingPolicy, *, closed: bool = False, instances: int = 1
) -> Gate:
    """Run a scenario against a scheduler; whatever happens, its threads come free."""

    async def run() -> Gate:
        gate = Gate(closed=closed)
        loop = asyncio.get_running_loop()

        def note(execution: Execution) -> None:
            loop.call_soon_threadsafe(gate.executions.put_nowait, execution)

        scheduler = Scheduler([Lane(gate)] * instances, policy, note)
        try:
            await scenario(scheduler, gate)
        finally:
            gate.open()
            scheduler.close()
        return gate

    return asyncio.run(run())
