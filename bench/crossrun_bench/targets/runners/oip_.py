"""Any running server of the Open Inference Protocol: Triton, OpenVINO Model Server, MLServer, …"""

from collections.abc import Sequence
from typing import Any

from crossrun.oip import grpc_service_pb2 as oip
from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model
from crossrun_bench.targets.channels import channel
from crossrun_bench.targets.runners.grpc_ import RawTensor, answered
from crossrun_bench.targets.task import Task


class OpenInference(RawTensor):
    """ModelInfer with raw contents, once the server's description of its model fits ours."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, channel(task.address or ""))
        try:
            asked = oip.ModelMetadataRequest(name=task.model.name)
            _check(answered(self._stub.ModelMetadata, asked), task.model)
        except BenchError as error:
            raise BenchError(f"{task.address}: {error}") from error


def _check(metadata: oip.ModelMetadataResponse, model: Model) -> None:
    """Raise BenchError if the tensors differ; a server may describe none."""
    image = (model.input_name, model.input_type, (-1, model.height, model.width, 3))
    answer = (model.output_name, "FP32", (-1, model.classes))
    if metadata.inputs and not (len(metadata.inputs) == 1 and _fits(metadata.inputs[0], *image)):
        raise BenchError(f"expected one input {_said(*image)}, got {_listed(metadata.inputs)}")
    if metadata.outputs and not any(_fits(output, *answer) for output in metadata.outputs):
        raise BenchError(f"expected an output {_said(*answer)}, got {_listed(metadata.outputs)}")


def _fits(tensor: Any, name: str, datatype: str, shape: Sequence[int]) -> bool:
    """Whether a tensor has this name, type and shape; -1 and the batch fit any size."""
    own = list(tensor.shape)
    sizes = all(size in {-1, wanted} for size, wanted in zip(own[1:], shape[1:], strict=False))
    return (tensor.name, tensor.datatype, len(own)) == (name, datatype, len(shape)) and sizes


def _said(name: str, datatype: str, shape: Sequence[int]) -> str:
    return f"{name} {datatype} {list(shape)}"


def _listed(tensors: Any) -> str:
    return ", ".join(_said(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors)
