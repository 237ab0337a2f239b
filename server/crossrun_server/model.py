"""One version of one model: what it takes, what it gives, what it makes of a request.

Whoever keeps a model across an `await` does so in `with model:`, so that a model which is
replaced meanwhile is not closed under a request.
Knows arrays, not messages; how the session runs and how requests wait is not its business.
"""

import asyncio
from collections.abc import Mapping, Sequence

from crossrun_server.config import ServedConfig
from crossrun_server.errors import InvalidRequest
from crossrun_server.scheduler import Reply, Scheduler
from crossrun_server.session import Assignment
from crossrun_server.tensors import Array, TensorSpec


class Model:
    """A loaded model that answers requests."""

    def __init__(  # noqa: PLR0913, PLR0917 - a model has that many parts
        self,
        version: str,
        config: ServedConfig,
        labels: Mapping[str, tuple[str, ...]],
        metadata: Mapping[str, str],
        scheduler: Scheduler,
        assignments: tuple[Assignment, ...],
    ) -> None:
        self.name = config.proto.name
        self.version = version
        self.config = config
        self.labels = labels  # of each output that has any
        self.metadata = metadata
        self.inputs = {spec.name: spec for spec in config.inputs}
        self.outputs = {spec.name: spec for spec in config.outputs}
        self.assignments = assignments
        self._scheduler = scheduler
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def __enter__(self) -> "Model":
        self._users += 1
        self._unused.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if self._users == 0:
            self._unused.set()

    async def infer(
        self,
        inputs: dict[str, Array],
        outputs: Sequence[str] = (),
        deadline: float | None = None,
        priority: int = 0,
        timeout: int = 0,
    ) -> Reply:
        """Answer one request; without `outputs`, all of them.

        The deadline, the priority and the timeout are those of Scheduler.submit.

        Raises:
            InvalidRequest: an input or output is missing, unknown or of the wrong shape.
            QueueFull, DeadlineExceeded, ModelUnavailable: see Scheduler.submit.
        """
        self._check(inputs)
        for name in outputs:
            self.output(name)
        with self:
            return await self._scheduler.submit(
                inputs, tuple(outputs) or tuple(self.outputs), deadline, priority, timeout
            )

    def input(self, name: str) -> TensorSpec:
        """Find an input by name, or raise InvalidRequest."""
        return _find(name, self.inputs, f"{self.name!r} has no input {name!r}; its inputs are")

    def output(self, name: str) -> TensorSpec:
        """Find an output by name, or raise InvalidRequest."""
        return _find(name, self.outputs, f"{self.name!r} has no output {name!r}; its outputs are")

    async def drain(self) -> None:
        """Wait until nobody uses it and nothing of it runs, not even for a caller who left."""
        await self._unused.wait()
        await self._scheduler.drain()

    def close(self) -> None:
        """Release the model's threads."""
        self._scheduler.close()

    def _check(self, inputs: Mapping[str, Array]) -> None:
        for name, array in inputs.items():
            spec = self.input(name)
            if not spec.accepts(array.shape):
                raise InvalidRequest(
                    f"input {name!r} has shape {list(array.shape)}, expected {list(spec.shape)}"
                )
        if missing := self.inputs.keys() - inputs.keys():
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
