"""Tensors of one shape for the caller and of another for the model, as `reshape` in config.pbtxt
says. The values and their order stay the same. Knows no onnxruntime.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.batching import Run, Tensors
from crossrun_server.errors import InvalidRequest, LoadError
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


def read(proto: pb.ModelConfig, batched: bool) -> Reshapes:
    """Read the shapes of a configuration whose tensors have been checked."""
    return Reshapes(
        batched,
        {e.name: tuple(e.reshape.shape) for e in proto.input if e.HasField("reshape")},
        {e.name: tuple(e.dims) for e in proto.output if e.HasField("reshape")},
    )


def inside(entry: "pb.ModelInput | pb.ModelOutput") -> Sequence[int]:
    """The shape of a tensor in the model, which may not be that for the caller.

    Raises:
        LoadError: the two cannot have the same number of elements.
    """
    if not entry.HasField("reshape"):
        return entry.dims
    shape = entry.reshape.shape
    free = max(list(entry.dims).count(-1), list(shape).count(-1))
    if free > 1 or (free == 0 and math.prod(entry.dims) != math.prod(shape)):
        raise LoadError(
            f"{entry.name!r} has dims {list(entry.dims)} and reshape {list(shape)}; expected as "
            "many elements in both, and at most one free size in each"
        )
    return shape
