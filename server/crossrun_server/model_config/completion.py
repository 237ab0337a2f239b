"""A model's configuration, completed from the ONNX file and checked against it.

Knows no files: config.py reads config.pbtxt.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import detection_outputs, policies, reshape, scores
from crossrun_server.model_config.detection_outputs import DetectionOutputs
from crossrun_server.model_config.reshape import Reshapes
from crossrun_server.model_config.scores import UNTOLD, ScoresConfig
from crossrun_server.scheduling.queueing import SchedulingPolicy
from crossrun_server.tensors.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

# For a model without config.pbtxt whose first dimension is free.
DEFAULT_MAX_BATCH_SIZE = 32


@dataclass(frozen=True)
class CompletedConfig:
    """A completed configuration; the shapes of the specs include the batch dimension.

    A model may have default values for some inputs. `inputs` holds those that config.pbtxt declares
    optional.
    """

    proto: pb.ModelConfig
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    policy: SchedulingPolicy
    reshapes: Reshapes
    detection_outputs: DetectionOutputs | None = None  # of a detector
    independent: bool = True  # whether requests, or padding, may share a run
    scores: ScoresConfig = UNTOLD  # of a classifier

    @property
    def required(self) -> tuple[TensorSpec, ...]:
        """The inputs that every request must have."""
        return tuple(spec for spec in self.inputs if not spec.optional)

    @property
    def max_batch_size(self) -> int:
        """The most rows of one request; 0 if the first dimension is not a batch."""
        return self.proto.max_batch_size


def complete(
    declared: pb.ModelConfig | None,
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    batches: bool = True,
) -> CompletedConfig:
    """Fill in what the file leaves out and check the rest against the model.

    Args:
        declared: the file; None for a model without one.
        name: the model's.
        inputs: of the model.
        outputs: of the model.
        batches: whether a model without a file gets batches if its first dimensions are free.

    Raises:
        LoadError: the file and the model contradict each other.
    """
    named = {entry.name for entry in declared.input} if declared else set()
    inputs = [spec for spec in inputs if spec.name in named or not spec.optional]
    specs = (*inputs, *outputs)
    automatic = _automatic(name, batches and _batchable(specs))
    proto = automatic if declared is None else copy.deepcopy(declared)
    proto.platform, proto.backend = "onnxruntime_onnx", "onnxruntime"
    batched = proto.max_batch_size > 0
    if batched and not _batchable(specs):
        raise LoadError(
            f"max_batch_size is {proto.max_batch_size}, but the first dimension of "
            "every input and output of the ONNX file is not free; set it to 0"
        )
    served_inputs = _merge(proto.input, inputs, batched)
    served_outputs = _merge(proto.output, outputs, batched)
    return CompletedConfig(
        proto=proto,
        inputs=served_inputs,
        outputs=served_outputs,
        policy=policies.read(proto),
        reshapes=reshape.read(proto, batched, specs),
        detection_outputs=detection_outputs.read(proto, served_outputs),
        scores=scores.read(proto, served_outputs),
    )


def _automatic(name: str, batched: bool) -> pb.ModelConfig:
    proto = pb.ModelConfig(name=name)
    if batched:
        proto.max_batch_size = DEFAULT_MAX_BATCH_SIZE
        proto.dynamic_batching.SetInParent()
    return proto


def _batchable(specs: Sequence[TensorSpec]) -> bool:
    return all(spec.shape[:1] == (-1,) for spec in specs)


def _merge(
    declared: "RepeatedCompositeFieldContainer[Any]",
    found: Sequence[TensorSpec],
    batched: bool,
) -> tuple[TensorSpec, ...]:
    """Narrow the model's tensors to what the file declares, and add the others to the file."""
    specs = {spec.name: spec for spec in found}
    undeclared = dict(specs)
    for entry in declared:
        if entry.name not in specs:
            raise LoadError(f"the model has no {entry.name!r}; it has {', '.join(specs)}")
        specs[entry.name] = _narrow(entry, specs[entry.name], batched)
        undeclared.pop(entry.name, None)
    for spec in undeclared.values():
        dims = spec.shape[1:] if batched else spec.shape
        declared.add(name=spec.name, data_type=_enum(spec.datatype), dims=dims)
    return tuple(specs.values())


def _narrow(entry: "pb.ModelInput | pb.ModelOutput", spec: TensorSpec, batched: bool) -> TensorSpec:
    if entry.data_type != _enum(spec.datatype):
        raise LoadError(
            f"{entry.name!r} is declared {_named(entry.data_type)}, "
            f"but the model has {spec.datatype}"
        )
    _check_optional(entry, spec)
    batch = (-1,) if batched else ()
    inside = batch + tuple(reshape.shape_in_model(entry, spec))
    fits = len(inside) == len(spec.shape) and all(
        have in (-1, want) for want, have in zip(inside, spec.shape, strict=True)
    )
    if not fits:
        raise LoadError(
            f"{entry.name!r} is declared {list(inside)}, but the model has {list(spec.shape)}"
            f"{_hint(spec, batched)}"
        )
    return replace(spec, shape=batch + tuple(entry.dims), scalar=not spec.shape)


def _hint(spec: TensorSpec, batched: bool) -> str:
    """Say how to declare a single value, which has no dimension of its own."""
    if batched and len(spec.shape) == 1:
        return "; one value for each row is dims: [ 1 ] reshape { shape: [ ] }"
    return "" if spec.shape else "; a single value is dims: [ 1 ]"


def _check_optional(entry: "pb.ModelInput | pb.ModelOutput", spec: TensorSpec) -> None:
    declared = isinstance(entry, pb.ModelInput) and entry.optional
    if declared != spec.optional:
        raise LoadError(
            f"{entry.name!r} is {'' if declared else 'not '}declared optional, but the model has "
            f"{'a' if spec.optional else 'no'} value of its own for it (an initializer)"
        )


def _named(data_type: int) -> str:
    """Return the name of a data type; from JSON it may be an unknown number."""
    known = data_type in pb.DataType.values()
    return pb.DataType.Name(pb.DataType.ValueType(data_type)) if known else str(data_type)


def _enum(datatype: str) -> int:
    return pb.DataType.Value("TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}")
