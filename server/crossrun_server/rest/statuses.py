"""What a call's status is in HTTP: the one table."""

from collections.abc import Mapping

from grpc import StatusCode
from starlette.responses import JSONResponse

# As https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto maps them.
HTTP_STATUS = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.CANCELLED: 499,
    StatusCode.INTERNAL: 500,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
GONE = 499  # as nginx calls it when a client has left; nobody sees it


def failed(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error as Triton and TensorFlow Serving word it."""
    return JSONResponse({"error": text}, status, headers)
