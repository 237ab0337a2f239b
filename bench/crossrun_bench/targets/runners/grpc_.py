"""A crossrun server over gRPC, blocking and one request at a time: tensors, or JPEG and PNG."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun.v1 import providers_pb2
from crossrun.v1 import vision_pb2 as vision
from crossrun.v1.providers_pb2_grpc import ProvidersStub
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.errors import BenchError
from crossrun_bench.models import heads
from crossrun_bench.models.model import Model, Probabilities, as_input
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.channels import channel
from crossrun_bench.targets.task import Task

TIMEOUT_S = 60.0


def answered(call: Callable[..., Any], request: object) -> Any:
    """The reply to a request.

    Raises:
        BenchError: the server refuses or is not there; the error holds status and message.
    """
    try:
        return call(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        raise BenchError(f"{error.code().name}: {error.details()}") from error


def placements(address: str, model: str) -> Sequence[providers_pb2.Placement]:
    """Where the sessions of a model run in a server of ours, and how they were proven."""
    with channel(address) as to_server:
        return _placements(to_server, model)


def _placements(to_server: grpc.Channel, model: str) -> Sequence[providers_pb2.Placement]:
    request = providers_pb2.ListPlacementsRequest(model=model)
    found: Sequence[providers_pb2.Placement] = answered(
        ProvidersStub(to_server).ListPlacements, request
    ).placements
    return found


def opened(task: Task) -> grpc.Channel:
    """A channel to the task's server.

    Raises:
        BenchError: the server runs the model on another provider or in another precision;
            config.pbtxt may ask for these.
    """
    to_server = channel(task.address or "")
    found = _placements(to_server, task.model.name)
    running = {count.provider: count for placement in found for count in placement.running}
    if running and task.provider.name not in running:
        told = ", ".join(sorted(running))
        raise BenchError(f"expected the server to run it on {task.provider}, it runs on {told}")
    precision = running[task.provider.name].precision.partition(" ")[0] if running else ""
    if precision != task.provider.precision:
        told = f"{precision or 'what it likes'}, as config.pbtxt may ask"
        raise BenchError(f"expected the server to compute in {task.provider.precision}, not {told}")
    return to_server


def classify(
    stub: Any, model: str, images: Sequence[bytes], top_k: int
) -> Sequence[vision.Classification]:
    """Ask Vision/Classify for each encoded picture's classes, best first."""
    request = vision.ClassifyRequest(model=model, images=images, top_k=top_k)
    results: Sequence[vision.Classification] = answered(stub.Classify, request).results
    return results


def infer_request(model: Model, shape: Sequence[int]) -> oip.ModelInferRequest:
    """A request with one tensor of `shape`, still without contents."""
    tensor = oip.ModelInferRequest.InferInputTensor(
        name=model.input_name, datatype=model.input_type, shape=shape
    )
    return oip.ModelInferRequest(model_name=model.name, inputs=[tensor])


def raw_request(model: Model, tensor: NDArray[Any]) -> oip.ModelInferRequest:
    """A request with raw contents, as tritonclient sends it."""
    request = infer_request(model, tensor.shape)
    request.raw_input_contents.append(tensor.tobytes())
    return request


def typed_request(model: Model, tensor: NDArray[Any]) -> oip.ModelInferRequest:
    """A request with InferTensorContents: each number of the tensor is one on the wire."""
    request = infer_request(model, tensor.shape)
    contents = request.inputs[0].contents
    whole = model.input_type == "UINT8"
    (contents.uint_contents if whole else contents.fp32_contents).extend(tensor.ravel().tolist())
    return request


def probabilities(model: Model, reply: oip.ModelInferResponse) -> Probabilities:
    """The model's output, whether the server sends it raw or typed.

    Raises:
        BenchError: the reply lacks this output.
    """
    names = [output.name for output in reply.outputs]
    if model.output_name not in names:
        raise BenchError(f"expected an output '{model.output_name}', got {', '.join(names)}")
    position = names.index(model.output_name)
    output = reply.outputs[position]
    if reply.raw_output_contents:
        flat = np.frombuffer(reply.raw_output_contents[position], np.float32)
    else:
        flat = np.array(output.contents.fp32_contents, np.float32)
    return flat.reshape(output.shape)


class RawTensor:
    """ModelInfer with raw contents; `other` is a channel to a server that is not ours."""

    def __init__(self, task: Task, other: grpc.Channel | None = None) -> None:
        self._model = task.model
        self._stub = GRPCInferenceServiceStub(other or opened(task))

    def run(self, batch: Batch) -> Probabilities:
        """Send the tensor's bytes, and get the bytes of the probabilities."""
        request = raw_request(self._model, as_input(self._model, batch.pixels))
        return probabilities(self._model, answered(self._stub.ModelInfer, request))


class TypedTensor(RawTensor):
    """ModelInfer with InferTensorContents: each number of the tensor is one on the wire."""

    def run(self, batch: Batch) -> Probabilities:
        """Send numbers; the server still answers in bytes."""
        request = typed_request(self._model, as_input(self._model, batch.pixels))
        return probabilities(self._model, answered(self._stub.ModelInfer, request))


class EncodedPictures:
    """Vision/Classify with JPEG or PNG bytes: the server decodes and resizes."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._classes = heads.classes(task.model)
        self._top_k = self._classes if task.every_class else 0  # the server's own, five
        self._stub = VisionStub(opened(task))

    def run(self, batch: Batch) -> Probabilities:
        """Send files, and get the best classes or all; the others score 0."""
        results = classify(self._stub, self._model.name, batch.encoded, self._top_k)
        return scores(results, self._classes)


def scores(results: Sequence[vision.Classification], classes: int) -> Probabilities:
    """The score of each class, by its position, for each picture."""
    answer = np.zeros((len(results), classes), np.float32)
    for row, result in zip(answer, results, strict=True):
        row[[c.index for c in result.classes]] = [c.score for c in result.classes]
    return answer
