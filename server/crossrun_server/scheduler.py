"""The queue before a session: admission, deadlines, cancellation, dynamic batching.

Knows no gRPC and no onnxruntime: what it runs is a plain function. A request that
meets a free session goes straight to it; whoever left or ran out of time while
waiting is dropped before it costs a place in a batch.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from crossrun_server.errors import DeadlineExceeded, QueueFull
from crossrun_server.tensors import Array

Tensors = dict[str, Array]
Run = Callable[[Tensors, Sequence[str]], Tensors]


@dataclass(frozen=True)
class Policy:
    """How requests wait and merge; `max_batch_size` 0 runs each request alone."""

    max_batch_size: int = 0  # rows
    max_queue_delay: float = 0.0  # seconds that the oldest request waits for company
    queue_size: int = 256  # requests


@dataclass(frozen=True)
class Reply:
    """The outputs of one request, with the time it waited and the time its batch ran."""

    outputs: Tensors
    queue_ns: int
    compute_ns: int
    batch: int  # requests that shared the run


@dataclass(eq=False)
class _Request:
    inputs: Tensors
    outputs: tuple[str, ...]
    deadline: float | None  # on the event loop's clock
    answer: asyncio.Future[Reply]
    arrived: float  # on the event loop's clock
    arrived_ns: int = field(default_factory=time.perf_counter_ns)

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))

    def fits(self, other: "_Request") -> bool:
        """Whether both can share a batch: same outputs, same shapes past the first dimension."""
        return self.outputs == other.outputs and all(
            array.shape[1:] == other.inputs[name].shape[1:] for name, array in self.inputs.items()
        )


class Scheduler:
    """Runs requests one batch at a time on a thread of its own."""

    def __init__(self, run: Run, policy: Policy) -> None:
        self._run = run
        self._policy = policy
        self._waiting: dict[_Request, None] = {}  # in order of arrival, cheap to leave
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="session")

    async def submit(
        self, inputs: Tensors, outputs: Sequence[str], deadline: float | None = None
    ) -> Reply:
        """Wait for the answer to one request.

        Where batches are formed, all inputs share the size of their first dimension.

        Args:
            inputs: arrays by input name; not to be changed until the answer is there.
            outputs: names of the outputs wanted.
            deadline: on the running event loop's clock, in seconds; None waits for ever.

        Raises:
            QueueFull: as many requests wait as may; this one was not taken.
            DeadlineExceeded: the deadline passed first.
        """
        if len(self._waiting) >= self._policy.queue_size:
            raise QueueFull(f"the queue is full ({self._policy.queue_size} requests wait)")
        loop = asyncio.get_running_loop()
        request = _Request(inputs, tuple(outputs), deadline, loop.create_future(), loop.time())
        self._waiting[request] = None
        self._pump()
        try:
            async with asyncio.timeout_at(deadline):
                return await request.answer
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed before the answer was there") from None
        finally:
            self._waiting.pop(request, None)

    def close(self) -> None:
        """Let the thread go once what it runs has ended."""
        self._thread.shutdown(wait=False)

    def _pump(self) -> None:
        """Start a batch if the session is free and the requests need not wait for company."""
        if self._busy:
            return
        loop = asyncio.get_running_loop()
        batch = self._gather(loop.time())
        if not batch:
            return
        ready_at = batch[0].arrived + self._policy.max_queue_delay
        if loop.time() < ready_at and self._has_room(batch):
            self._wake_at(ready_at)
            return
        for request in batch:
            del self._waiting[request]
        self._busy = True
        replies = loop.run_in_executor(self._thread, self._execute, batch)
        replies.add_done_callback(lambda done: self._finish(batch, done))

    def _has_room(self, batch: list[_Request]) -> bool:
        limit = self._policy.max_batch_size
        return limit > 0 and sum(request.rows for request in batch) < limit

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._pump)

    def _gather(self, now: float) -> list[_Request]:
        """Choose the oldest live request and those behind it that fit into its batch."""
        batch: list[_Request] = []
        rows = 0
        for request in self._waiting:
            if request.answer.done() or (request.deadline is not None and request.deadline <= now):
                continue
            if self._policy.max_batch_size == 0:
                return [request]
            full = rows + request.rows > self._policy.max_batch_size
            if batch and (full or not batch[0].fits(request)):
                continue
            batch.append(request)
            rows += request.rows
        return batch

    def _finish(self, batch: list[_Request], done: asyncio.Future[list[Reply | Exception]]) -> None:
        self._busy = False
        for request, result in zip(batch, done.result(), strict=True):
            if request.answer.done():  # its caller has left
                continue
            if isinstance(result, Exception):
                request.answer.set_exception(result)
            else:
                request.answer.set_result(result)
        self._pump()

    def _execute(self, batch: list[_Request]) -> list[Reply | Exception]:
        """Run a batch on the session's thread; where it fails, each request of it alone.

        So one request that makes the model fail harms none of its neighbours.
        """
        try:
            return list(self._run_together(batch))
        except Exception as error:  # noqa: BLE001 - handed to the caller, whatever it is
            if len(batch) == 1:
                return [error]
            return [reply for request in batch for reply in self._execute([request])]

    def _run_together(self, batch: list[_Request]) -> list[Reply]:
        started = time.perf_counter_ns()
        outputs = self._run(_merge(batch), batch[0].outputs)
        compute = time.perf_counter_ns() - started
        return [
            Reply(part, started - request.arrived_ns, compute, len(batch))
            for request, part in zip(batch, _split(batch, outputs), strict=True)
        ]


def _merge(batch: list[_Request]) -> Tensors:
    if len(batch) == 1:
        return batch[0].inputs
    return {
        name: np.concatenate([request.inputs[name] for request in batch])
        for name in batch[0].inputs
    }


def _split(batch: list[_Request], outputs: Tensors) -> list[Tensors]:
    if len(batch) == 1:
        return [outputs]
    ends = np.cumsum([request.rows for request in batch])
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != ends[-1]:
            raise ValueError(f"output {name!r} has shape {array.shape} for a batch of {ends[-1]}")
    parts = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
    return [{name: arrays[i] for name, arrays in parts.items()} for i in range(len(batch))]
