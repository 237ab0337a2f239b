"""The road to a model's sessions: admission, deadlines, cancellation, dynamic batching.

Knows no gRPC and no onnxruntime: what it runs are plain functions. A request that
meets an idle instance goes straight to it; whoever left or ran out of time while
waiting is dropped before it costs a place in a batch.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from crossrun_server.batching import Execution, Reply, Request, Result, Run, Tensors, execute
from crossrun_server.errors import DeadlineExceeded, ModelUnavailable
from crossrun_server.queueing import Policy, QueuePolicy, WaitingRoom

__all__ = ["Execution", "Policy", "QueuePolicy", "Reply", "Run", "Scheduler", "Tensors"]

_Executed = asyncio.Future[tuple[list[Result], list[Execution]]]


@dataclass(eq=False)
class _Instance:
    """One session and the thread that it runs on, one batch at a time."""

    run: Run
    thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="session")
    )


class Scheduler:
    """Runs requests in batches, on as many threads as there are instances of the model.

    Args:
        runs: what runs a batch, one function per instance, each called by a thread of its own.
        policy: how requests wait and merge.
        observe: is told of each executed batch, on the event loop, before its callers go on.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        policy: Policy,
        observe: Callable[[Execution], None] = lambda _: None,
    ) -> None:
        self._instances = [_Instance(run) for run in runs]
        self._idle = list(self._instances)
        self._policy = policy
        self._observe = observe
        self._waiting = WaitingRoom(policy)
        self._line: dict[Request, Result | None] = {}  # by arrival, where the order is preserved
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closed = False

    async def submit(
        self,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None = None,
        priority: int = 0,
        timeout: int = 0,
    ) -> Reply:
        """Wait for the answer to one request.

        Where the model's first dimension is a batch, all inputs share its size.

        Args:
            inputs: arrays by input name; not to be changed until the answer is there.
            outputs: names of the outputs wanted.
            deadline: on the running event loop's clock, in seconds; None waits for ever.
            priority: 1 is the highest; the default level for 0 and for a level there is not.
            timeout: microseconds in the queue; counts where it may override the queue's own
                and is less than that.

        Raises:
            QueueFull: as many requests wait as may; this one was not taken.
            DeadlineExceeded: the deadline passed first, or the queue's timeout.
            ModelUnavailable: the scheduler is closed.
        """
        if self._closed:
            raise ModelUnavailable("the model takes no more requests: it is being unloaded")
        request = self._request(inputs, tuple(outputs), deadline, self._policy.level(priority))
        self._admit(request, timeout)
        try:
            async with asyncio.timeout_at(deadline):
                return await request.answer
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed before the answer was there") from None
        finally:
            self._forget(request)

    async def drain(self) -> None:
        """Wait until nothing is queued and nothing runs."""
        await self._quiet.wait()

    @property
    def pending(self) -> int:
        """How many requests wait to be run."""
        return sum(1 for _ in self._waiting)

    def close(self) -> None:
        """Refuse whoever still waits; let each thread go once what it runs has ended."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # it knows this scheduler, which would keep the sessions alive
        for request in list(self._waiting):
            _answer(request, ModelUnavailable("the model was unloaded while the request waited"))
        for instance in self._instances:
            instance.thread.shutdown(wait=False)

    def _request(
        self, inputs: Tensors, outputs: tuple[str, ...], deadline: float | None, level: int
    ) -> Request:
        loop = asyncio.get_running_loop()
        rows = next((len(x) for x in inputs.values()), 1) if self._policy.max_batch_size else 1
        answer: asyncio.Future[Reply] = loop.create_future()
        return Request(inputs, outputs, rows, answer, loop.time(), deadline, level)

    def _admit(self, request: Request, asked: int) -> None:
        """Let a request wait, and go at once if it can."""
        queue = self._policy.queue_of(request.level)
        timeout = queue.timeout_for(asked)
        if timeout:
            request.expires = request.arrived + timeout / 1e6
        self._waiting.enter(request)
        self._quiet.clear()
        if self._policy.preserve_ordering:
            self._line[request] = None
        self._pump()
        if request.expires is not None and not queue.delay_expired and request in self._waiting:
            loop = asyncio.get_running_loop()
            request.alarm = loop.call_at(request.expires, self._reject, request, timeout)

    def _reject(self, request: Request, timeout: int) -> None:
        self._leave(request)
        late = f"the request waited longer than the queue's timeout of {timeout} microseconds"
        _answer(request, DeadlineExceeded(late))

    def _leave(self, request: Request) -> None:
        self._waiting.leave(request)
        if request.alarm is not None:
            request.alarm.cancel()

    def _forget(self, request: Request) -> None:
        """Do without a request that has its answer or whose caller has left."""
        self._leave(request)
        self._line.pop(request, None)
        self._hand_out()
        self._rest()

    def _rest(self) -> None:
        if not self._waiting and len(self._idle) == len(self._instances):
            self._quiet.set()

    def _pump(self) -> None:
        """Start batches while an instance is idle and the requests need not wait for company."""
        now = asyncio.get_running_loop().time()
        while self._idle and not self._closed:
            batch, ready_at = self._waiting.next_batch(now)
            if not batch:
                return
            if now < ready_at:
                self._wake_at(ready_at)
                return
            self._start(self._idle.pop(), batch)

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._pump)

    def _start(self, instance: _Instance, batch: list[Request]) -> None:
        for request in batch:
            self._leave(request)
        loop = asyncio.get_running_loop()
        executed = loop.run_in_executor(instance.thread, execute, instance.run, batch)
        executed.add_done_callback(lambda done: self._finish(instance, batch, done))

    def _finish(self, instance: _Instance, batch: list[Request], executed: _Executed) -> None:
        self._idle.append(instance)  # taken again first, while its caches are warm
        results, executions = executed.result()
        for request, result in zip(batch, results, strict=True):
            self._settle(request, result)
        self._hand_out()
        self._pump()
        self._rest()
        for execution in executions:
            self._observe(execution)

    def _settle(self, request: Request, result: Result) -> None:
        if not self._policy.preserve_ordering:
            _answer(request, result)
        elif request in self._line:  # otherwise its caller has left
            self._line[request] = result

    def _hand_out(self) -> None:
        """Answer those in line whose predecessors all have their answers."""
        while self._line:
            request, result = next(iter(self._line.items()))
            if result is None:
                return
            del self._line[request]
            _answer(request, result)


def _answer(request: Request, result: Result) -> None:
    if request.answer.done():  # its caller has left
        return
    if isinstance(result, Exception):
        request.answer.set_exception(result)
    else:
        request.answer.set_result(result)
