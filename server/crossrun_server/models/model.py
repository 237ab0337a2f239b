"""One version of one model: checks requests, answers them, and knows its inputs and outputs.

Code that keeps a model across an `await` holds it in `with model:`, so that a model which is
replaced meanwhile is not closed under a request.
Knows arrays, not messages. Does not know how sessions run or how requests wait.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

from crossrun_server.errors import InvalidRequest, ServingError, WrongLabels
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models.labels import fitting
from crossrun_server.models.posted import Caller, PostedRequest
from crossrun_server.models.upkeep.failing import Failing
from crossrun_server.models.upkeep.idle_memory import IdleMemory
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.scheduling.batching import InferenceRequest, Reply
from crossrun_server.scheduling.in_flight import InFlight
from crossrun_server.scheduling.patience import Patience
from crossrun_server.scheduling.response_cache import ModelCache
from crossrun_server.scheduling.scheduler import Scheduler
from crossrun_server.telemetry.readings import Reading, known
from crossrun_server.telemetry.request_record import NOBODY, Observer, Origin, RequestRecord
from crossrun_server.telemetry.statistics import Statistics
from crossrun_server.tensors.tensor_spec import Array, TensorSpec


@dataclass(frozen=True)
class Instruments:
    """What counts a model's requests, what watches its runs, what caches answers, who else is told.

    The observers are told of each request once it is over, before the statistics: one of them may
    trace it, and the statistics keep a trace as an example.
    """

    statistics: Statistics
    failing: Failing
    memory: IdleMemory
    cache: ModelCache | None = None  # None: every answer is computed
    observers: tuple[Observer, ...] = ()


class Model:
    """A loaded model that answers requests.

    Args:
        version: the number of its folder.
        config: its completed configuration.
        labels: names of the classes, by output.
        metadata: the ONNX file's own.
        scheduler: runs it, and tells the statistics of each run.
        assignments: what computes it, for each lane.
        instruments: what watches it.
    """

    def __init__(  # noqa: PLR0913 - a model has that many parts
        self,
        *,
        version: str,
        config: CompletedConfig,
        labels: Mapping[str, tuple[str, ...]],
        metadata: Mapping[str, str],
        scheduler: Scheduler,
        assignments: tuple[Assignment, ...],
        instruments: Instruments,
    ) -> None:
        self.name = config.proto.name
        self.version = version
        self.config = config
        self.labels = labels
        self.metadata = metadata
        self.inputs = {spec.name: spec for spec in config.inputs}
        self.outputs = {spec.name: spec for spec in config.outputs}
        self._required = {spec.name for spec in config.required}
        self.assignments = assignments
        self.statistics = instruments.statistics
        self.failing = instruments.failing
        self.memory = instruments.memory
        self.cache = instruments.cache
        self._observers = (*instruments.observers, self.statistics.finished)
        self._scheduler = scheduler
        self._in_use = InFlight()

    def __enter__(self) -> "Model":
        self._in_use.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._in_use.__exit__()

    @property
    def provider(self) -> str:
        """The execution provider that computes most of it, by onnxruntime's name."""
        return self.assignments[0].provider

    @property
    def places(self) -> int:
        """How many batches run at once."""
        return self._scheduler.places

    @property
    def pending(self) -> int:
        """How many requests wait to be run."""
        return self._scheduler.pending

    def surely_fits(self, deadline: float | None) -> bool:
        """Whether `check_wait` would surely let a request in; costs a microsecond."""
        return self._scheduler.surely_fits(deadline)

    def reading(self) -> Reading:
        """Read its counters, and what was found before it served."""
        evidence = [assignment.evidence for assignment in self.assignments]
        first = self.assignments[0]
        return Reading(
            labels=(self.name, self.version, self.provider),
            counters=self.statistics.read(),
            pending=self.pending,
            nodes=dict(first.nodes),
            cached=self.cache is not None,
            difference=max(known(it.difference for it in evidence), default=None),
            agreement=min(known(it.agreement for it in evidence), default=None),
            asked_precision=first.asked_precision,
        )

    async def infer(  # noqa: PLR0913, PLR0917 - the terms on which a request waits
        self,
        inputs: dict[str, Array],
        outputs: Sequence[str] = (),
        deadline: float | None = None,
        priority: int = 0,
        timeout: int = 0,
        origin: Origin = NOBODY,
        connection: Hashable = None,
        patience: Patience | None = None,
    ) -> Reply:
        """Answer one request; no `outputs` means all of them.

        The deadline, the priority, the timeout and the connection are those of Scheduler.submit.
        With patience it waits for room in the queue.

        Raises:
            InvalidRequest: an input or output is missing, unknown or of the wrong shape.
            QueueFull, DeadlineExceeded, ModelUnavailable: see Scheduler.submit.
        """
        with self, self._recorded(origin) as record:
            wanted = self._wanted(inputs, outputs)
            submit = partial(
                self._scheduler.submit,
                inputs,
                wanted,
                deadline=deadline,
                priority=priority,
                timeout=timeout,
                connection=connection,
            )
            run = partial(patience.call, submit) if patience else submit
            record.rows, record.queued_ns = self._rows(inputs), perf_counter_ns()
            record.reply = await (self.cache.answer(inputs, wanted, run) if self.cache else run())
            return record.reply

    def post(  # noqa: PLR0913 - the terms on which a request waits, and who asks
        self,
        inputs: dict[str, Array],
        outputs: Sequence[str],
        caller: Caller,
        *,
        deadline: float | None,
        priority: int,
        timeout: int,
        origin: Origin,
        connection: Hashable,
    ) -> None:
        """Answer one request as `infer` does, on this thread if a lane is idle.

        There is no response cache on this road.

        Raises:
            InvalidRequest, QueueFull, DeadlineExceeded, ModelUnavailable: see `infer`; the caller
                is not answered.
        """
        record = RequestRecord(self.name, self.version, origin)
        posted = PostedRequest(record, caller, self._in_use, self._observers)
        try:
            request = self._scheduler.request(
                inputs,
                self._wanted(inputs, outputs),
                answer=posted.answer,
                has_left=posted.has_left,
                deadline=deadline,
                priority=priority,
                connection=connection,
            )
            caller.when_gone(partial(self._leave, request, posted))
            record.rows, record.queued_ns = request.rows, perf_counter_ns()
            self._scheduler.post(request, timeout)
            if posted.has_left():  # before anybody noted what is to be done then
                self._leave(request, posted)
        except BaseException as error:
            posted.end(error)
            raise

    def check_wait(self, deadline: float | None, connection: Hashable) -> None:
        """Find out whether a request would be let in now, before its inputs are made.

        Raises:
            QueueFull, DeadlineExceeded: see Scheduler.submit.
        """
        self._scheduler.check(deadline, connection)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request that is refused in this block, before its inputs are made."""
        try:
            yield
        except ServingError:
            with self._recorded(NOBODY):
                raise

    def input(self, name: str) -> TensorSpec:
        """Find an input by name, or raise InvalidRequest."""
        return _find(name, self.inputs, f"{self.name!r} has no input {name!r}; its inputs are")

    def output(self, name: str) -> TensorSpec:
        """Find an output by name, or raise InvalidRequest."""
        return _find(name, self.outputs, f"{self.name!r} has no output {name!r}; its outputs are")

    def label(self, output: str, index: int) -> str:
        """Return the name of a class; the index itself if the output has no labels.

        Raises:
            WrongLabels: it has labels, but none for this class: so the others are shifted, too.
        """
        labels = self.labels.get(output, ())
        if not labels:
            return str(index)
        if index >= len(labels):
            raise WrongLabels(
                f"{self.name!r} returns class {index} in {output!r}, which has {len(labels)} labels"
                f"{self._counting(index - len(labels))}"
            )
        return labels[index]

    def _counting(self, beyond: int) -> str:
        """Suggest that classes count from 1, if a class is the first beyond a detector's labels."""
        found = self.config.detection_outputs
        if found is None or found.first_class or beyond:
            return ""
        return "; if its classes count from 1, parameters 'detection.first_class' says so"

    def names(self, output: str, sizes: Sequence[int]) -> Sequence[str]:
        """Return the labels of scores of these sizes, one for each score.

        There are none if the output has no labels, or if its rows are detections.

        Raises:
            WrongLabels: they are more or fewer than the scores.
            InvalidRequest: the output holds the number of a class, which the labels name.
        """
        labels, found = self.labels.get(output, ()), self.config.detection_outputs
        if not labels or (found and output in found.names):
            return ()
        if math.prod(sizes) == 1 and not self.outputs[output].datatype.startswith("FP"):
            raise InvalidRequest(
                f"output {output!r} of {self.name!r} is the number of a class and no scores; ask "
                "for it without classification"
            )
        if len(labels) not in fitting(sizes):
            raise WrongLabels(
                f"{self.name!r} returns {list(sizes)} scores in {output!r}, "
                f"which has {len(labels)} labels"
            )
        return labels * (math.prod(sizes) // len(labels))

    async def drain(self) -> None:
        """Wait until nobody uses it and nothing runs, not even for a caller who left."""
        await self._in_use.drained()
        await self._scheduler.drain()

    def close(self) -> None:
        """Release the model's threads and its cached answers."""
        self._scheduler.close()
        self.failing.close()
        if self.cache is not None:
            self.cache.close()

    @contextmanager
    def _recorded(self, origin: Origin) -> Iterator[RequestRecord]:
        """Tell the observers about a request once it is over, however it ends."""
        record = RequestRecord(self.name, self.version, origin)
        try:
            yield record
        except BaseException as error:  # a caller who leaves counts as a failure
            record.error = type(error)
            raise
        finally:
            record.ended_ns = perf_counter_ns()
            for observe in self._observers:
                observe(record)

    def _wanted(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> tuple[str, ...]:
        """Check a request; returns the outputs that it wants."""
        self._check(inputs)
        for name in outputs:
            self.output(name)
        return tuple(outputs) or tuple(self.outputs)

    def _leave(self, request: InferenceRequest, posted: PostedRequest) -> None:
        posted.leave()
        self._scheduler.forget(request)

    def _rows(self, inputs: Mapping[str, Array]) -> int:
        return next((len(x) for x in inputs.values()), 1) if self.config.max_batch_size else 1

    def _check(self, inputs: Mapping[str, Array]) -> None:
        for name, array in inputs.items():
            spec = self.input(name)
            if not spec.accepts(array.shape):
                raise InvalidRequest(
                    f"input {name!r} has shape {list(array.shape)}, expected {list(spec.shape)}"
                )
        if missing := self._required - inputs.keys():
            raise InvalidRequest(f"{self.name!r} needs the input {', '.join(sorted(missing))} too")
        if self.config.max_batch_size:
            self._check_batch({name: len(array) for name, array in inputs.items()})

    def _check_batch(self, rows: Mapping[str, int]) -> None:
        limit = self.config.max_batch_size
        if len(set(rows.values())) > 1:
            raise InvalidRequest(f"inputs of a request must agree in batch size, got {dict(rows)}")
        for name, count in rows.items():
            if not 1 <= count <= limit:
                raise InvalidRequest(
                    f"input {name!r} has a batch of {count}, {self.name!r} takes 1 to {limit}"
                )


def _find(name: str, specs: Mapping[str, TensorSpec], otherwise: str) -> TensorSpec:
    if name not in specs:
        raise InvalidRequest(f"{otherwise} {', '.join(specs)}")
    return specs[name]
