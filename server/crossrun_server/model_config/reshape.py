"""Tensors with one shape for the caller and another for the model: `reshape` in config.pbtxt.

The values and their order stay the same. Knows no onnxruntime.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import InvalidRequest, LoadError
from crossrun_server.scheduling.batching import Run, Tensors
from crossrun_server.tensors.tensor_spec import Array, TensorSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Reshapes:
    """New shapes by tensor; without the batch dimension if there is one."""

    batched: bool = False
    inputs: Mapping[str, Shape] = field(default_factory=dict)  # as the model takes them
    outputs: Mapping[str, Shape] = field(default_factory=dict)  # as the caller gets them
    scalars: Mapping[str, Shape] = field(default_factory=dict)  # likewise, for single values

    def around(self, run: Run) -> Run:
        """Wrap a run so that it takes and returns the caller's shapes."""
        if not self.inputs and not self.outputs and not self.scalars:
            return run

        def reshaped(inputs: Tensors, outputs: Sequence[str]) -> Tensors:
            given = {name: self._given(name, array) for name, array in inputs.items()}
            answer = run(given, outputs)
            return {name: self._answered(name, array) for name, array in answer.items()}

        return reshaped

    def _given(self, name: str, array: Array) -> Array:
        try:
            return self._to(self.inputs, name, array)
        except ValueError:  # what fills a free size is known only now
            raise InvalidRequest(
                f"input {name!r} has shape {list(array.shape)}, which does not make up "
                f"{list(self.inputs[name])}, as the model takes it"
            ) from None

    def _answered(self, name: str, array: Array) -> Array:
        # onnxruntime also says of a tensor of unknown rank that it has no dimension.
        shapes = self.scalars if array.ndim == 0 else self.outputs
        return self._to(shapes, name, array)

    def _to(self, shapes: Mapping[str, Shape], name: str, array: Array) -> Array:
        if name not in shapes:
            return array
        rows = (len(array),) if self.batched else ()
        return array.reshape(rows + shapes[name])


def read(proto: pb.ModelConfig, batched: bool, found: Sequence[TensorSpec]) -> Reshapes:
    """Read the shapes of a configuration whose tensors have been checked.

    Args:
        proto: the configuration.
        batched: whether the first dimension is a batch.
        found: all tensors as the model has them.
    """
    scalars = {spec.name for spec in found if not spec.shape}
    single: dict[str, Shape] = {e.name: () for e in proto.input if e.name in scalars}
    return Reshapes(
        batched=batched,
        inputs=single
        | {e.name: tuple(e.reshape.shape) for e in proto.input if e.HasField("reshape")},
        outputs={e.name: tuple(e.dims) for e in proto.output if e.HasField("reshape")},
        scalars={e.name: tuple(e.dims) for e in proto.output if e.name in scalars},
    )


def shape_in_model(entry: "pb.ModelInput | pb.ModelOutput", spec: TensorSpec) -> Sequence[int]:
    """Return the shape of a tensor in the model, which may differ from the caller's.

    As in Triton, dims of ones are a single value if the model has no dimension.

    Raises:
        LoadError: the two cannot have the same number of elements.
    """
    if not entry.HasField("reshape"):
        return () if not spec.shape and set(entry.dims) == {1} else entry.dims
    shape = entry.reshape.shape
    free = max(list(entry.dims).count(-1), list(shape).count(-1))
    if free > 1 or (free == 0 and math.prod(entry.dims) != math.prod(shape)):
        raise LoadError(
            f"{entry.name!r} has dims {list(entry.dims)} and reshape {list(shape)}; expected as "
            "many elements in both, and at most one free size in each"
        )
    return shape
