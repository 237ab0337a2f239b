"""Requests that share a run: joins their inputs into a batch, runs it, and splits the answers.

Runs on whatever thread runs the batch. Knows nothing of priorities, of queues or of an event loop.
"""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from crossrun_server.errors import DeadlineExceeded
from crossrun_server.scheduling.alarms import Alarm
from crossrun_server.scheduling.interruption import LATE, Interruption
from crossrun_server.tensors.tensor_spec import Array

Tensors = dict[str, Array]
Run = Callable[[Tensors, Sequence[str]], Tensors]


class Reply(NamedTuple):
    """The outputs of one request, how long it waited, and how long its batch took."""

    outputs: Tensors
    queue_ns: int
    input_ns: int  # joining the inputs of the batch
    compute_ns: int
    output_ns: int  # splitting the outputs
    batch: int  # requests that shared the run; 0 if the response cache answered
    cache_ns: int = 0  # looking up and storing the answer in the response cache; 0 without one


class Execution(NamedTuple):
    """How long one run of a batch took; phases after a failure took 0.

    If a batch of several requests fails, each of them is then run alone.
    """

    rows: int  # a request counts as one if the model's first dimension is not a batch
    requests: int
    input_ns: int  # joining the inputs
    infer_ns: int
    output_ns: int  # splitting the outputs
    error: Exception | None = None

    @property
    def failed(self) -> bool:
        """Whether its requests have no answer."""
        return self.error is not None

    @property
    def ns(self) -> int:
        """All phases together."""
        return self.input_ns + self.infer_ns + self.output_ns


@dataclass(eq=False)
class InferenceRequest:
    """One caller's request, from its arrival to its answer.

    Times are those of time.monotonic(), in seconds.
    """

    inputs: Tensors
    outputs: tuple[str, ...]
    rows: int
    answer: "Callable[[Result], None]"  # takes the result, on any thread, and at most once
    has_left: Callable[[], bool] = lambda: False  # whether the caller is gone
    deadline: float | None = None  # for the answer, set by the caller
    level: int = 0  # of priority; the lowest number goes first
    connection: Hashable = None  # that it came by: connections take turns
    arrived: float = field(default_factory=time.monotonic)
    arrived_ns: int = field(default_factory=time.perf_counter_ns)
    expires: float | None = None  # when its queue's timeout ends
    alarm: Alarm | None = None  # rings at `expires` if it is refused then
    interruption: Interruption | None = None  # of the run that it is in, or was in

    def gone(self, now: float) -> bool:
        """Whether nobody waits for its answer any more."""
        return (self.deadline is not None and self.deadline <= now) or self.has_left()

    def expired(self, now: float) -> bool:
        """Whether it has waited longer than its queue's timeout."""
        return self.expires is not None and self.expires <= now

    def fits(self, other: "InferenceRequest") -> bool:
        """Whether both can share a batch: same tensors, same shapes after the first dimension."""
        return (
            self.outputs == other.outputs
            and self.inputs.keys() == other.inputs.keys()
            and all(a.shape[1:] == other.inputs[name].shape[1:] for name, a in self.inputs.items())
        )


Result = Reply | Exception


def execute(run: Run, batch: list[InferenceRequest]) -> tuple[list[Result], list[Execution]]:
    """Run a batch; if it fails, run each of its requests alone.

    So a request that makes the model fail does not harm the others.

    Returns:
        A result for each request, and the runs, both in order.
    """
    results, execution = _attempt(run, batch)
    if not execution.failed or len(batch) == 1:
        return results, [execution]
    alone = [_attempt(run, [request]) for request in batch]
    return (
        [result for results, _ in alone for result in results],
        [execution, *(execution for _, execution in alone)],
    )


def check_rows(outputs: Tensors, rows: int) -> None:
    """Raise ValueError if the first dimension of an output is not the batch."""
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != rows:
            raise ValueError(f"output {name!r} has shape {array.shape} for a batch of {rows}")


def _attempt(run: Run, batch: list[InferenceRequest]) -> tuple[list[Result], Execution]:
    clock = time.perf_counter_ns
    times = [clock()]
    interruption = Interruption(batch)
    for request in batch:
        request.interruption = interruption
    parts: list[Tensors] | Exception
    try:
        with interruption:
            inputs = _merge(batch)
            times.append(clock())
            outputs = run(inputs, batch[0].outputs)
            times.append(clock())
            parts = _split(batch, outputs)
    except Exception as error:  # noqa: BLE001 - passed on to the caller, whatever it is
        parts = DeadlineExceeded(LATE) if interruption.happened else error
    times.append(clock())
    return _report(batch, parts, times)


def _report(
    batch: list[InferenceRequest], parts: list[Tensors] | Exception, times: list[int]
) -> tuple[list[Result], Execution]:
    durations = [end - start for start, end in pairwise(times)]
    input_ns, infer_ns, output_ns = (*durations, 0, 0)[:3]
    rows = sum(request.rows for request in batch)
    execution = Execution(
        rows=rows,
        requests=len(batch),
        input_ns=input_ns,
        infer_ns=infer_ns,
        output_ns=output_ns,
        error=parts if isinstance(parts, Exception) else None,
    )
    if isinstance(parts, Exception):
        return [parts] * len(batch), execution
    return [
        Reply(
            outputs=part,
            queue_ns=times[0] - request.arrived_ns,
            input_ns=input_ns,
            compute_ns=infer_ns,
            output_ns=output_ns,
            batch=len(batch),
        )
        for request, part in zip(batch, parts, strict=True)
    ], execution


def _merge(batch: list[InferenceRequest]) -> Tensors:
    if len(batch) == 1:
        return batch[0].inputs
    return {
        name: np.concatenate([request.inputs[name] for request in batch])
        for name in batch[0].inputs
    }


def _split(batch: list[InferenceRequest], outputs: Tensors) -> list[Tensors]:
    if len(batch) == 1:
        return [outputs]
    ends = np.cumsum([request.rows for request in batch])
    check_rows(outputs, ends[-1])
    parts = {name: np.split(array, ends[:-1]) for name, array in outputs.items()}
    return [{name: arrays[i] for name, arrays in parts.items()} for i in range(len(batch))]
