"""Brings requests to a model's sessions: admission, deadlines, cancellation, dynamic batching.

A request that meets an idle lane goes straight to it. One that would wait too long is refused when
it comes. One whose caller has left, or whose time has run out, is dropped before it costs a place
in a batch. Runs are plain functions: knows no gRPC and no onnxruntime.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import RLock
from time import monotonic

from crossrun_server.errors import DeadlineExceeded, ModelUnavailable
from crossrun_server.scheduling import waiting_time
from crossrun_server.scheduling.alarms import ALARMS, Alarm
from crossrun_server.scheduling.answer_line import AnswerLine
from crossrun_server.scheduling.batching import (
    Execution,
    InferenceRequest,
    Reply,
    Result,
    Tensors,
    execute,
)
from crossrun_server.scheduling.interruption import LATE
from crossrun_server.scheduling.places import Lane, Place, Places
from crossrun_server.scheduling.queueing import RequestQueue, SchedulingPolicy
from crossrun_server.scheduling.waiting_time import Pace

Started = list[tuple[Place, list[InferenceRequest]]]


class Scheduler:
    """Runs requests in batches, side by side if there are lanes and cores.

    A request that waits alone gets the widest lane; several requests get narrow ones, side by side.
    Requests come from an event loop (`submit`) or from threads that run them themselves (`post`).
    One lock guards all that waits and runs. The thread that ends a batch runs the next one, so that
    no core idles until another thread hears of it.

    Args:
        lanes: what runs batches.
        policy: how requests wait and merge.
        observe: is told of each executed batch, on its thread, before its callers go on.
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
        # Any thread may run in any place, so none waits while there is work.
        self._threads = ThreadPoolExecutor(len(self._places), thread_name_prefix="session")
        # Requests are divided among lanes that share cores, unless the policy names batch sizes.
        self._divides = bool(cores) and policy.merges_freely
        self._policy = policy
        self._observe = observe
        self._waiting = RequestQueue(policy)
        self._pace = Pace()
        self._line = AnswerLine()  # empty, unless the order is preserved
        self._timer: Alarm | None = None
        self._quiet: list[Callable[[], object]] = []  # who is told once nothing waits or runs
        self._closed = False
        self._lock = RLock()

    async def submit(  # noqa: PLR0913, PLR0917 - the terms on which a request waits
        self,
        inputs: Tensors,
        outputs: Sequence[str],
        deadline: float | None = None,
        priority: int = 0,
        timeout: int = 0,
        connection: Hashable = None,
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
            connection: that the request came by; connections take turns.

        Raises:
            QueueFull: the queue is full, or the request would wait too long; it was not accepted.
            DeadlineExceeded: the deadline or the queue's timeout passed first, or no run is short
                enough.
            ModelUnavailable: the scheduler is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        request = self.request(
            inputs,
            tuple(outputs),
            answer=partial(_hand_over, loop, future),
            has_left=future.done,
            deadline=deadline,
            priority=priority,
            connection=connection,
        )
        for place, batch in self._admit(request, timeout):
            self._start(place, batch)
        try:
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise DeadlineExceeded(LATE) from None
        finally:
            self.forget(request)

    def request(  # noqa: PLR0913 - what is asked, by whom, and on which terms
        self,
        inputs: Tensors,
        outputs: tuple[str, ...],
        *,
        answer: Callable[[Result], None],
        has_left: Callable[[], bool],
        deadline: float | None,
        priority: int,
        connection: Hashable,
    ) -> InferenceRequest:
        """Make a request for `post`; see `submit` and InferenceRequest."""
        return InferenceRequest(
            inputs=inputs,
            outputs=outputs,
            rows=next((len(x) for x in inputs.values()), 1) if self._policy.max_batch_size else 1,
            answer=answer,
            has_left=has_left,
            deadline=deadline,
            level=self._policy.level(priority),
            connection=connection,
        )

    def post(self, request: InferenceRequest, timeout: int = 0) -> None:
        """Let a request in, and run on this thread what it starts, until nothing is left to run.

        The request is answered on this thread or on another, perhaps before this returns. Who
        posted it calls `forget` if the caller leaves.

        Raises:
            QueueFull, DeadlineExceeded, ModelUnavailable: see `submit`; the request is not answered
                then.
        """
        started = self._admit(request, timeout)
        for place, batch in started[1:]:
            self._start(place, batch)
        for place, batch in started[:1]:
            self._work(place, batch)

    def check(self, deadline: float | None, connection: Hashable) -> None:
        """Find out whether a request would be let in now, before it is made.

        Raises:
            QueueFull, DeadlineExceeded: see `submit`.
        """
        with self._lock:
            self._check(self._policy.level(0), deadline, connection)

    def forget(self, request: InferenceRequest) -> bool:
        """Drop a request whose caller has its answer or has left; returns whether it waited.

        If it runs, and nobody waits for another request of its run, the run is ended.
        """
        with self._lock:
            waited = request in self._waiting
            self._waiting.leave(request)
            self._line.leave(request)
            self._rest()
        if request.alarm is not None:
            request.alarm.cancel()
        if request.interruption is not None:
            request.interruption.look()
        return waited

    async def drain(self) -> None:
        """Wait until nothing is queued and nothing runs."""
        loop, quiet = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._quiet.append(partial(loop.call_soon_threadsafe, quiet.set))
            self._rest()
        await quiet.wait()

    @property
    def places(self) -> int:
        """How many batches run at once."""
        return len(self._places)

    @property
    def pending(self) -> int:
        """The number of requests that wait to be run."""
        with self._lock:
            return len(self._waiting)

    def surely_fits(self, deadline: float | None, level: int = 0) -> bool:
        """Whether a request would be let in, as far as it can be told without the lock.

        It would, even if all that waits now ran before it.
        """
        if self._waiting and self._policy.queue_of(level).size:
            return False
        wait = self._pace.row * self._waiting.rows
        left = None if deadline is None else deadline - monotonic()
        return waiting_time.fits(wait, self._pace.run, left, self._policy.max_wait)

    def close(self) -> None:
        """Refuse the requests that wait; each thread ends once its batch has ended."""
        with self._lock:
            self._closed = True
            left = list(self._waiting)
            for request in left:
                self._waiting.leave(request)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None  # it would keep this scheduler, and so the sessions, alive
        for request in left:
            request.answer(ModelUnavailable("the model was unloaded while the request waited"))
        self._threads.shutdown(wait=False)

    def _admit(self, request: InferenceRequest, asked: int) -> Started:
        """Put a request into the queue; returns what can start now."""
        queue = self._policy.queue_of(request.level)
        timeout = queue.timeout_for(asked)
        if timeout:
            request.expires = request.arrived + timeout / 1e6
        with self._lock:
            if self._closed:
                raise ModelUnavailable("the model takes no more requests: it is being unloaded")
            place = self._straight(request)
            if place is None:
                self._check(request.level, request.deadline, request.connection)
                self._waiting.enter(request)
            if self._policy.preserve_ordering:
                self._line.enter(request)
            if place is not None:
                return [(place, [request])]
            started = self._pump()
            if request.expires and not queue.delay_expired and request in self._waiting:
                ring = partial(self._reject, request, timeout)
                request.alarm = ALARMS.at(request.expires, ring)
        return started

    def _straight(self, request: InferenceRequest) -> Place | None:
        """Take a place for a request that nothing holds up; None if it has to queue."""
        if self._waiting or self._policy.waits_for_company or request.gone(request.arrived):
            return None
        place = self._places.choose(1)
        if place is not None:
            self._places.take(place)
        return place

    def _check(self, level: int, deadline: float | None, connection: Hashable) -> None:
        """Refuse who would wait too long. Who meets an idle place is let in, whatever was measured.

        So an estimate that is wrong is put right by the next run.
        """
        if self.surely_fits(deadline, level):
            return
        wait = self._pace.row * self._waiting.rows_before(level, connection)
        self._waiting.check_size(level, wait)
        if self._places.choose(1) is None:
            left = None if deadline is None else deadline - monotonic()
            waiting_time.check(wait, self._pace.run, left, self._policy.longest_wait(level))

    def _reject(self, request: InferenceRequest, timeout: int) -> None:
        with self._lock:
            if request not in self._waiting:  # it runs
                return
            self._waiting.leave(request)
        late = f"the request waited longer than the queue's timeout of {timeout} microseconds"
        request.answer(DeadlineExceeded(late))

    def _rest(self) -> None:
        if not self._waiting and self._places.all_idle:
            for tell in self._quiet:
                with suppress(RuntimeError):  # its loop is closed
                    tell()
            self._quiet.clear()

    def _pump(self) -> Started:
        """Take batches out of the queue while a place is idle and a batch is ready."""
        started: Started = []
        if not self._waiting:
            return started
        now = monotonic()
        while (
            not self._closed
            and self._waiting
            and (place := self._places.choose(len(self._waiting)))
        ):
            batch, ready_at = self._waiting.next_batch(now, self._shares(place))
            if not batch:
                break
            if now < ready_at:
                self._wake_at(ready_at)
                break
            self._places.take(place)
            self._waiting.take(batch)
            started.append((place, batch))
        return started

    def _shares(self, place: Place) -> int:
        """Return how many places the waiting requests are divided among."""
        return self._places.room_for(place) if self._divides else 1

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = ALARMS.at(when, self._wake)

    def _wake(self) -> None:
        with self._lock:
            started = self._pump()
        for place, batch in started:
            self._start(place, batch)

    def _start(self, place: Place, batch: list[InferenceRequest]) -> None:
        # Without `result`, an exception in here would be lost; so the future's logger gets it.
        self._threads.submit(self._work, place, batch).add_done_callback(Future.result)

    def _work(self, place: Place, batch: list[InferenceRequest]) -> None:
        """Run a batch on this thread, then the next one, until there is none."""
        following: tuple[Place, list[InferenceRequest]] | None = (place, batch)
        while following:
            following = self._work_once(*following)

    def _work_once(
        self, place: Place, batch: list[InferenceRequest]
    ) -> tuple[Place, list[InferenceRequest]] | None:
        """Run a batch and answer its requests; returns what this thread is to run next."""
        results, executions = execute(place.run, batch)
        with self._lock:
            self._note(place, executions)
            self._places.release(place)
            started = self._pump()
            self._rest()
        for execution in executions:
            self._observe(execution)
        for other, others in started[1:]:
            self._start(other, others)
        self._finish(batch, results)
        return started[0] if started else None

    def _note(self, place: Place, executions: list[Execution]) -> None:
        share = self._places.share(place)
        for execution in executions:
            if not execution.failed:
                self._pace.note(execution.ns / 1e9, execution.rows, share)

    def _finish(self, batch: list[InferenceRequest], results: list[Result]) -> None:
        if not self._policy.preserve_ordering:
            for request, result in zip(batch, results, strict=True):
                request.answer(result)
            return
        with self._lock:
            for request, result in zip(batch, results, strict=True):
                self._line.settle(request, result)


def _hand_over(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Reply], result: Result
) -> None:
    """Give a result to who waits on the event loop, from any thread."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_settle, future, result)


def _settle(future: asyncio.Future[Reply], result: Result) -> None:
    if future.done():  # its caller has left
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
