"""The forms of a request: the message for a picture, and how its reply is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun.tfserving import prediction_service_pb2 as serving
from crossrun.v1 import vision_pb2 as vision
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models import heads
from crossrun_bench.models.model import as_input
from crossrun_bench.targets.runners.grpc_ import probabilities, raw_request, typed_request
from crossrun_bench.targets.runners.shared_memory_ import placed_request, registered
from crossrun_bench.targets.runners.tfserving_ import signature

Answer = NDArray[np.float32]

JPEG = "jpeg"  # of encoded pictures; the reply holds probabilities
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_CLASSIFY = "/crossrun.v1.Vision/Classify"
_PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclass(frozen=True)
class Form:
    """A method, the message that it gets again and again, and a function that reads a reply."""

    method: str
    body: bytes
    read: Callable[[bytes], Answer]


def raw(request: Request, _: grpc.Channel) -> Form:
    """The tensor's bytes: any server of the protocol takes them."""
    return _inferring(request, raw_request(request.model, _tensor(request)))


def typed(request: Request, _: grpc.Channel) -> Form:
    """The tensor's numbers."""
    return _inferring(request, typed_request(request.model, _tensor(request)))


def jpeg(request: Request, _: grpc.Channel) -> Form:
    """The encoded picture; the server decodes it."""
    model, encoded = request.model, Path(request.encoded).read_bytes()
    asked = vision.ClassifyRequest(model=model.name, images=[encoded])  # its five best classes

    def read(reply: bytes) -> Answer:
        # Classes that are not returned count as right.
        answer: Answer = heads.probabilities(model, np.load(request.expected))
        (told,) = vision.ClassifyResponse.FromString(reply).results
        answer[0, [c.index for c in told.classes]] = [c.score for c in told.classes]
        return answer

    return Form(_CLASSIFY, asked.SerializeToString(), read)


def shared(request: Request, channel: grpc.Channel) -> Form:
    """The tensors' place in memory that the server shares: one region for all callers."""
    model, tensor = request.model, _tensor(request)
    answer_size = np.dtype(np.float32).itemsize * model.classes
    memory = registered(GRPCInferenceServiceStub(channel), answer_size + tensor.nbytes)
    np.frombuffer(memory, tensor.dtype, tensor.size, answer_size)[:] = tensor.ravel()
    body = placed_request(model, tensor, answer_size).SerializeToString()
    return Form(_INFER, body, lambda _: np.frombuffer(memory, np.float32, model.classes).copy())


def predict(request: Request, channel: grpc.Channel) -> Form:
    """What TensorFlow Serving's signature takes: the pixels themselves or scaled to float32."""
    served = signature(channel, request.model)
    body = served.request(np.load(request.pixels)).SerializeToString()

    def read(reply: bytes) -> Answer:
        return served.probabilities(serving.PredictResponse.FromString(reply))

    return Form(_PREDICT, body, read)


MAKERS: dict[str, Callable[[Request, grpc.Channel], Form]] = {
    "raw": raw,
    "typed": typed,
    JPEG: jpeg,
    "shm": shared,
    "predict": predict,
}


def _tensor(request: Request) -> NDArray[Any]:
    return as_input(request.model, np.load(request.pixels))


def _inferring(request: Request, asked: oip.ModelInferRequest) -> Form:
    def read(reply: bytes) -> Answer:
        return probabilities(request.model, oip.ModelInferResponse.FromString(reply))

    return Form(_INFER, asked.SerializeToString(), read)
