"""Shared memory: regions of the system's, and of CUDA, which the server refuses in words."""

import base64
import binascii

from starlette.responses import Response

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.rest import json_text
from crossrun_server.rest.describing import LIST, NOTHING
from crossrun_server.rest.protocol.endpoints import Endpoint, Sent, done, member, plain

REGION = {"region": "name"}
SYSTEM, CUDA = "/v2/systemsharedmemory", "/v2/cudasharedmemory"

Regions = pb.SystemSharedMemoryStatusResponse | pb.CudaSharedMemoryStatusResponse


def _status(answer: Regions) -> Response:
    return json_text.response([plain(region) for region in answer.regions.values()])


def _register(message: pb.SystemSharedMemoryRegisterRequest, sent: Sent) -> None:
    json_text.check_keys(sent, ("key", "offset", "byte_size"))
    message.key = member(sent, "key", str)
    message.offset = member(sent, "offset", int, otherwise=0)
    message.byte_size = member(sent, "byte_size", int)


def _register_cuda(message: pb.CudaSharedMemoryRegisterRequest, sent: Sent) -> None:
    json_text.check_keys(sent, ("raw_handle", "device_id", "byte_size"))
    handle = member(member(sent, "raw_handle", dict), "b64", str)
    try:
        message.raw_handle = base64.b64decode(handle, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest(f"'raw_handle' is no base64: {error}") from None
    message.device_id = member(sent, "device_id", int)
    message.byte_size = member(sent, "byte_size", int)


ENDPOINTS = (
    *(Endpoint("GET", path, "SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest,
               REGION, _status, "The regions that are registered", answer=LIST)
      for path in (f"{SYSTEM}/status", f"{SYSTEM}/region/{{region}}/status")),
    Endpoint("POST", f"{SYSTEM}/region/{{region}}/register", "SystemSharedMemoryRegister",
             pb.SystemSharedMemoryRegisterRequest, REGION, done, "Register a region",
             _register, NOTHING),
    *(Endpoint("POST", path, "SystemSharedMemoryUnregister",
               pb.SystemSharedMemoryUnregisterRequest, REGION, done, "Forget regions",
               answer=NOTHING)
      for path in (f"{SYSTEM}/unregister", f"{SYSTEM}/region/{{region}}/unregister")),
    *(Endpoint("GET", path, "CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest,
               REGION, _status, "The regions of CUDA, of which there are none", answer=LIST)
      for path in (f"{CUDA}/status", f"{CUDA}/region/{{region}}/status")),
    Endpoint("POST", f"{CUDA}/region/{{region}}/register", "CudaSharedMemoryRegister",
             pb.CudaSharedMemoryRegisterRequest, REGION, done, "Refuse a region of CUDA",
             _register_cuda, answer=NOTHING),
    *(Endpoint("POST", path, "CudaSharedMemoryUnregister",
               pb.CudaSharedMemoryUnregisterRequest, REGION, done, "Forget regions of CUDA",
               answer=NOTHING)
      for path in (f"{CUDA}/unregister", f"{CUDA}/region/{{region}}/unregister")),
)  # fmt: skip
