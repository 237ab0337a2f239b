"""Tensors of one shape for the caller and of another for the model, as `reshape` in config.pbtxt
says. The values and their order stay the same. Knows no onnxruntime.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossrun_server.batching import Run, Tensors
from crossrun_server.errors import InvalidRequest
from crossrun_server.tensors import Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reshapes:
    """By tensor, the shape that it is given; without the batch dimension where there is one."""

    batched: bool = False
    inputs: Mapping[str, Shape] = field(default_factory=dict)  # as the model takes them
    outputs: Mapping[str, Shape] = field(default_factory=dict)  # as the caller gets them

    def around(self, run: Run) -> Run:
        """Let a run be asked in the caller's shapes."""
        if not self.inputs and not self.outputs:
            return run

        def reshaped(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
            given = {name: self._given(name, array) for name, array in inputs.items()}
            answer = run(given, outputs)
            return {name: self._to(self.outputs, name, array) for name, array in answer.items()}

        return reshaped

    def _given(self, name: str, array: Array) -> Array:
        try:
            return self._to(self.inputs, name, array)
        except ValueError:  # which sizes fill the free one is known only now
            raise InvalidRequest(
                f"input {name!r} has shape {list(array.shape)}, which does not make up "
                f"{list(self.inputs[name])}, as the model takes it"
            ) from None

    def _to(self, shapes: Mapping[str, Shape], name: str, array: Array) -> Array:
        if name not in shapes:
            return array
        rows = (len(array),) if self.batched else ()
        return array.reshape(rows + shapes[name])
