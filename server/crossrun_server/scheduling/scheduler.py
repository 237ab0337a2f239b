"""Brings requests to a model's sessions: admission, deadlines, cancellation, dynamic batching.

A request that meets an idle lane goes straight to it. A request whose caller has left, or whose
time has run out, is dropped before it costs a place in a batch. Runs are plain functions: knows no
gRPC and no onnxruntime.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import RLock

from crossrun_server.errors import DeadlineExceeded, ModelUnavailable
from crossrun_server.scheduling.batching import (
    Execution,
    InferenceRequest,
    Reply,
    Result,
    Tensors,
    execute,
)
from crossrun_server.scheduling.places import Lane, Place, Places
from crossrun_server.scheduling.queueing import RequestQueue, SchedulingPolicy


class Scheduler:
    """Runs requests in batches, side by side if there are lanes and cores.

    A request that waits alone gets the widest lane; several requests get narrow ones, side by side.
    One lock guards what waits and what runs: the thread that ends a batch starts the next one
    itself, so that no core idles until the event loop hears of it. Everything else belongs to the
    event loop.

    Args:
        lanes: what runs batches.
        policy: how requests wait and merge.
        observe: is told of each executed batch, on the event loop, before its callers go on.
        cores: how many cores all runs together may take; 0 for those of all lanes.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        policy: SchedulingPolicy,
        observe: Callable[[Execution], None] = lambda _: None,
        cores: int = 0,
    ) -> None:
        self._places = Places(lanes, cores)
        # Requests are divided among lanes that share cores, unless the policy names batch sizes.
        self._divides = bool(cores) and policy.merges_freely
        self._policy = policy
        self._observe = observe
        self._waiting = RequestQueue(policy)
        # By arrival, if the order is preserved.
        self._line: dict[InferenceRequest, Result | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closed = False
        self._lock = RLock()

    async def submit(
        self,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None = None,
        priority: int = 0,
        timeout: int = 0,
    ) -> Reply:
        """Wait for the answer to one request.

        If the model's first dimension is a batch, all inputs have the same batch size.

        Args:
            inputs: arrays by input name; they must not change before the answer is there.
            outputs: names of the wanted outputs.
            deadline: on the running event loop's clock, in seconds; None waits for ever.
            priority: 1 is the highest; 0 and unknown levels mean the default level.
            timeout: microseconds in the queue; it counts if the queue lets requests override its
                own timeout, and if it is shorter.

        Raises:
            QueueFull: the queue is full; the request was not accepted.
            DeadlineExceeded: the deadline or the queue's timeout passed first.
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
        """The number of requests that wait to be run."""
        with self._lock:
            return len(self._waiting)

    def close(self) -> None:
        """Refuse the requests that wait; each thread ends once its batch has ended."""
        with self._lock:
            self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # it would keep this scheduler, and so the sessions, alive
        for request in list(self._waiting):
            _answer(request, ModelUnavailable("the model was unloaded while the request waited"))
        self._places.close()

    def _request(
        self, inputs: Tensors, outputs: tuple[str, ...], deadline: float | None, level: int
    ) -> InferenceRequest:
        loop = asyncio.get_running_loop()
        rows = next((len(x) for x in inputs.values()), 1) if self._policy.max_batch_size else 1
        answer: asyncio.Future[Reply] = loop.create_future()
        return InferenceRequest(
            inputs=inputs,
            outputs=outputs,
            rows=rows,
            answer=answer,
            arrived=loop.time(),
            deadline=deadline,
            level=level,
        )

    def _admit(self, request: InferenceRequest, asked: int) -> None:
        """Put a request into the queue, and start it at once if possible."""
        queue = self._policy.queue_of(request.level)
        timeout = queue.timeout_for(asked)
        if timeout:
            request.expires = request.arrived + timeout / 1e6
        with self._lock:
            self._waiting.enter(request)
            self._quiet.clear()
            if self._policy.preserve_ordering:
                self._line[request] = None
            self._pump()
        if request.expires is not None and not queue.delay_expired:
            loop = asyncio.get_running_loop()
            request.alarm = loop.call_at(request.expires, self._reject, request, timeout)

    def _reject(self, request: InferenceRequest, timeout: int) -> None:
        with self._lock:
            if request not in self._waiting:  # it runs
                return
            self._waiting.leave(request)
        late = f"the request waited longer than the queue's timeout of {timeout} microseconds"
        _answer(request, DeadlineExceeded(late))

    def _forget(self, request: InferenceRequest) -> None:
        """Drop a request that has its answer, or whose caller has left."""
        with self._lock:
            self._waiting.leave(request)
        if request.alarm is not None:
            request.alarm.cancel()
        self._line.pop(request, None)
        self._hand_out()
        self._rest()

    def _rest(self) -> None:
        with self._lock:
            if not self._waiting and self._places.all_idle:
                self._quiet.set()

    def _pump(self) -> None:
        """Start batches while a place is idle and a batch is ready."""
        now = time.monotonic()  # the event loop's clock
        while (
            not self._closed
            and self._waiting
            and (place := self._places.choose(len(self._waiting)))
        ):
            batch, ready_at = self._waiting.next_batch(now, self._shares(place))
            if not batch:
                return
            if now < ready_at:
                batch[0].loop.call_soon_threadsafe(self._wake_at, ready_at)
                return
            self._start(place, batch)

    def _next_place(self) -> Place | None:
        """Return the place of the next batch; None if nothing waits, or no place is free."""
        return self._places.choose(len(self._waiting)) if self._waiting else None

    def _shares(self, place: Place) -> int:
        """Return how many places the waiting requests are divided among."""
        return self._places.room_for(place) if self._divides else 1

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_at(when, self._wake)

    def _wake(self) -> None:
        with self._lock:
            self._pump()

    def _start(self, place: Place, batch: list[InferenceRequest]) -> None:
        self._places.take(place)
        for request in batch:
            self._waiting.leave(request)
        # Without `result`, an exception in here would be lost; so the future's logger gets it.
        place.thread.submit(self._work, place, batch).add_done_callback(Future.result)

    def _work(self, place: Place, batch: list[InferenceRequest]) -> None:
        """Run a batch on the place's thread, and start the next one."""
        results, executions = execute(place.run, batch)
        with self._lock:
            self._places.release(place)
            self._pump()
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            batch[0].loop.call_soon_threadsafe(self._finish, batch, results, executions)

    def _finish(
        self, batch: list[InferenceRequest], results: list[Result], executions: list[Execution]
    ) -> None:
        for request, result in zip(batch, results, strict=True):
            self._settle(request, result)
        self._hand_out()
        self._rest()
        for execution in executions:
            self._observe(execution)

    def _settle(self, request: InferenceRequest, result: Result) -> None:
        if not self._policy.preserve_ordering:
            _answer(request, result)
        elif request in self._line:  # or else its caller has left
            self._line[request] = result

    def _hand_out(self) -> None:
        """Answer the requests in line whose predecessors all have their answers."""
        while self._line:
            request, result = next(iter(self._line.items()))
            if result is None:
                return
            del self._line[request]
            _answer(request, result)


def _answer(request: InferenceRequest, result: Result) -> None:
    if request.answer.done():  # its caller has left
        return
    if isinstance(result, Exception):
        request.answer.set_exception(result)
    else:
        request.answer.set_result(result)
