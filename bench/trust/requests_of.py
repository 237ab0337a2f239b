"""Requests that fit whatever model is served: its metadata says what it takes."""

import math
from typing import Any

import grpc

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub

WIDTH = {"UINT8": 1, "FP16": 2, "FP32": 4}  # bytes


def infer(channel: grpc.Channel, model: str) -> oip.ModelInferRequest:
    """Return a request of one row of zeros for a model with one input."""
    described = _described(channel, model)
    (wanted,) = described.inputs
    shape = [1, *wanted.shape[1:]]
    request = oip.ModelInferRequest(
        model_name=model,
        raw_input_contents=[bytes(math.prod(shape) * WIDTH[wanted.datatype])],
    )
    request.inputs.add(name=wanted.name, datatype=wanted.datatype, shape=shape)
    return request


def _described(channel: grpc.Channel, model: str) -> Any:
    return Stub(channel).ModelMetadata(oip.ModelMetadataRequest(name=model))
