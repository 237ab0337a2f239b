"""A detector on a crossrun server over gRPC, one request at a time: tensors, or JPEG and PNG."""

import numpy as np
from numpy.typing import NDArray

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun.v1 import vision_pb2 as vision
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.models.model import DETECTIONS, SCORE_THRESHOLD, Objects, as_input, packed
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.runners.grpc_ import answered, opened, raw_request
from crossrun_bench.targets.task import Task

_NUMPY = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32}


class RawTensor:
    """ModelInfer with raw contents."""

    def __init__(self, task: Task) -> None:
        assert task.model.detector
        self._model, self._min_score = task.model, task.model.detector.min_score
        self._stub = GRPCInferenceServiceStub(opened(task))

    def run(self, batch: Batch) -> Objects:
        """Send the tensor's bytes, and get the bytes of the four outputs."""
        request = raw_request(self._model, as_input(self._model, batch.pixels))
        if self._min_score is not None:
            rows = len(batch.pixels)
            request.inputs.add(name=SCORE_THRESHOLD, datatype="FP32", shape=[rows, 1])
            request.raw_input_contents.append(np.full(rows, self._min_score, np.float32).tobytes())
        for name in sorted(DETECTIONS):
            request.outputs.add(name=name)
        return packed(_arrays(answered(self._stub.ModelInfer, request)))


def _arrays(reply: oip.ModelInferResponse) -> dict[str, NDArray[np.generic]]:
    pairs = zip(reply.outputs, reply.raw_output_contents, strict=True)
    return {
        output.name: np.frombuffer(raw, _NUMPY[output.datatype]).reshape(output.shape)
        for output, raw in pairs
    }


class EncodedPictures:
    """Vision/Detect with JPEG or PNG bytes: the server decodes, resizes and brings boxes back."""

    def __init__(self, task: Task) -> None:
        assert task.model.detector
        self._model, self._detector = task.model, task.model.detector
        self._stub = VisionStub(opened(task))

    def run(self, batch: Batch) -> Objects:
        """Send files, and get boxes in pixels of the pictures."""
        request = vision.DetectRequest(
            model=self._model.name, images=batch.encoded, min_score=self._detector.min_score
        )
        results = answered(self._stub.Detect, request).results
        found = np.zeros((len(results), self._detector.max_detections, 6), np.float32)
        for row, result in zip(found, results, strict=True):
            for place, one in enumerate(result.detections):
                box = one.box
                row[place] = (box.ymin, box.xmin, box.ymax, box.xmax, one.score, one.index)
        return found
