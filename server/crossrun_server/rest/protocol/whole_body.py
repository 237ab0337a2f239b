"""A request that is one tensor alone, without JSON: of a model that leaves nothing open."""

import math
import struct

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.tensors.tensor_spec import DTYPES, TensorSpec


def add_input(message: pb.ModelInferRequest, models: Repository, body: bytes) -> bytes:
    """Add the one input of a model to a message, as a batch of one; returns its raw content.

    Args:
        message: names the model.
        models: has it.
        body: the tensor; if it is BYTES, its one element.

    Raises:
        InvalidRequest: the model has other inputs, or the shape does not follow from the size.
        UnknownModel, ModelUnavailable: see Repository.get.
    """
    model = models.get(message.model_name, message.model_version)
    if len(model.config.inputs) != 1:
        raise InvalidRequest(
            f"a body without JSON needs a model of one input, {model.name!r} has "
            f"{len(model.config.inputs)}"
        )
    spec = model.config.inputs[0]
    message.inputs.add(name=spec.name, datatype=spec.datatype, shape=_shape(spec, model, body))
    return struct.pack("<I", len(body)) + body if spec.datatype == "BYTES" else body


def _shape(spec: TensorSpec, model: Model, body: bytes) -> list[int]:
    """Find the shape: at most one size is open, and follows from that of the body."""
    shape = list(spec.shape)
    if model.config.max_batch_size > 0:
        shape[0] = 1
    if spec.datatype == "BYTES":
        return [1 if size == -1 else size for size in shape]
    if shape.count(-1) > 1:
        raise InvalidRequest(
            f"a body without JSON leaves the shape of input {spec.name!r} open: {list(spec.shape)}"
        )
    rest = math.prod(size for size in shape if size != -1) * DTYPES[spec.datatype].itemsize
    return [len(body) // rest if size == -1 and rest else size for size in shape]
