"""Requests of the Vision service, and what its answers say."""

import grpc

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub


def classify(channel: grpc.Channel, *pictures: bytes, **fields: object) -> pb.ClassifyResponse:
    request = pb.ClassifyRequest(model="colours", images=pictures, **fields)  # type: ignore[arg-type]
    response: pb.ClassifyResponse = VisionStub(channel).Classify(request)
    return response


HOW = [pb.RESIZE_STRETCH, pb.RESIZE_LETTERBOX, pb.RESIZE_CROP]


def detect(stub: VisionStub, *pictures: bytes, **fields: object) -> pb.DetectResponse:
    request = pb.DetectRequest(images=pictures, **{"model": "finder", **fields})  # type: ignore[arg-type]
    response: pb.DetectResponse = stub.Detect(request)
    return response


def corners(one: pb.Detection) -> tuple[float, float, float, float]:
    return one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax


def labels(reply: pb.DetectResponse) -> list[str]:
    (found,) = reply.results
    return [one.label for one in found.detections]
