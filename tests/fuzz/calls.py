"""Sends damaged messages to a server, and judges how its calls end."""

from contextlib import suppress
from random import Random
from typing import Any

import grpc
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2
from tests.fuzz import seeds
from tests.fuzz.damage import damaged, edited

LONGEST = 60.0  # seconds; a call that takes longer hangs
GLANCE = 0.05  # seconds that a stream without end is looked at
WATCH = "/grpc.health.v1.Health/Watch"
CLASSIFY, DETECT = "/crossrun.v1.Vision/Classify", "/crossrun.v1.Vision/Detect"
# Loads fail with it if there is no such configuration, as with Triton.
TRITONS = "failed to load "
EVER = {StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED}


def message(random: Random, path: str) -> bytes:
    """Return a message for an RPC: its bytes are damaged, or a value or a picture in it."""
    whole = random.choice(seeds.MESSAGES.get(path, [oip.ServerLiveRequest()]))
    if path in (CLASSIFY, DETECT) and random.random() < 0.7:
        pictures = [damaged(random, random.choice(seeds.PICTURES))]
        if path == DETECT:
            return vision_pb2.DetectRequest(model="finder", images=pictures).SerializeToString()
        return vision_pb2.ClassifyRequest(model="colours", images=pictures).SerializeToString()
    if random.random() < 0.6:
        return edited(random, whole)
    return damaged(random, whole.SerializeToString())


def begin(channel: Any, path: str, data: bytes) -> Any:
    """Make a call, and return at once."""
    streams, _ = seeds.METHODS[path]
    if path == WATCH:
        return channel.unary_stream(path)(data, timeout=GLANCE)
    if streams:
        return channel.stream_stream(path)(iter([data]), timeout=LONGEST)
    return channel.unary_unary(path).future(data, timeout=LONGEST)


def ending(path: str, call: Any) -> tuple[StatusCode, str]:
    """Wait for a call to end; returns its status and the text."""
    if any(seeds.METHODS[path]):
        with suppress(grpc.RpcError):
            for _ in call:
                pass
    return call.code(), call.details() or ""


def is_wrong(path: str, code: StatusCode, details: str) -> bool:
    """Whether a call must not end like this, whatever its message was."""
    if path == WATCH and code == StatusCode.DEADLINE_EXCEEDED:
        return False
    if code == StatusCode.INTERNAL and path.endswith("ModelLoad"):
        return not details.startswith(TRITONS)
    return code in EVER


def lives(channel: grpc.Channel) -> bool:
    """Whether the server answers."""
    try:
        return bool(Stub(channel).ServerLive(oip.ServerLiveRequest()).live)
    except grpc.RpcError:
        return False
