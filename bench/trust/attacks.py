"""Small requests, and few of them, that cost a careless server much: each with how it ended."""

import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from itertools import repeat
from pathlib import Path
from time import sleep
from typing import Any

import grpc
from PIL import Image

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from requests_of import infer

Attack = Callable[[str, str], str]  # the server's address, a model: how it ended
OIP, VISION = "/inference.GRPCInferenceService", "/crossrun.v1.Vision"
SHARED = Path("/dev/shm/crossrun_trust")  # noqa: S108 - where shared memory is
ANY_SIZE = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def sent(path: str, message: Callable[[str], bytes], *, gzip: bool = False) -> Attack:
    """Return an attack that is one message to an RPC, which is made for a model's name."""

    def attack(address: str, model: str) -> str:
        compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
        with grpc.insecure_channel(address, ANY_SIZE) as channel:
            call: Any = channel.unary_unary(path)
            return _ending(lambda: call(message(model), timeout=300, compression=compression))

    return attack


def picture_flood(address: str, model: str) -> str:
    """Twenty thousand pictures of one pixel in one request."""
    file = BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    request = vision_pb2.ClassifyRequest(model=model, images=[file.getvalue()] * 20_000)
    with grpc.insecure_channel(address) as channel:
        return _ending(lambda: VisionStub(channel).Classify(request, timeout=300))


def unread_streams(address: str, model: str) -> str:
    """Eight streams with three thousand requests each, whose answers nobody reads."""
    endings: Counter[str] = Counter()
    with grpc.insecure_channel(address) as channel:
        request = infer(channel, model)
        calls = [Stub(channel).ModelStreamInfer(repeat(request, 3000)) for _ in range(8)]
        sleep(5)
        for call in calls:
            endings["still open" if call.is_active() else call.code().name] += 1
            call.cancel()
    return _counted(endings)


def rapid_resets(address: str, model: str) -> str:
    """Twenty thousand calls that are cancelled at once, on one connection."""
    endings: Counter[str] = Counter()
    with grpc.insecure_channel(address) as channel:
        request, stub = infer(channel, model), Stub(channel)
        for _ in range(20_000):
            call = stub.ModelInfer.future(request)
            call.cancel()
            endings[call.code().name] += 1
    return _counted(endings)


def truncated_memory(address: str, model: str) -> str:
    """A shared-memory object that is cut while requests read it."""
    endings: Counter[str] = Counter()
    with grpc.insecure_channel(address) as channel:
        request, stub = infer(channel, model), Stub(channel)
        size = len(request.raw_input_contents[0])
        request.ClearField("raw_input_contents")
        request.inputs[0].parameters["shared_memory_region"].string_param = "trust"
        request.inputs[0].parameters["shared_memory_byte_size"].int64_param = size
        for _ in range(100):
            SHARED.write_bytes(bytes(size))
            registered = oip.SystemSharedMemoryRegisterRequest(
                name="trust", key=f"/{SHARED.name}", byte_size=size
            )
            stub.SystemSharedMemoryRegister(registered)
            calls = [stub.ModelInfer.future(request) for _ in range(8)]
            with SHARED.open("r+b") as file:
                file.truncate(0)
            for call in calls:
                endings[_ending(call.result)] += 1
            stub.SystemSharedMemoryUnregister(oip.SystemSharedMemoryUnregisterRequest(name="trust"))
    SHARED.unlink()
    return _counted(endings)


def load(config: str) -> Attack:
    """Return an attack that loads the model with a configuration."""

    def attack(address: str, model: str) -> str:
        request = oip.RepositoryModelLoadRequest(model_name=model)
        request.parameters["config"].string_param = config
        with grpc.insecure_channel(address) as channel:
            return _ending(lambda: Stub(channel).RepositoryModelLoad(request, timeout=300))

    return attack


def silent_connections(address: str, _: str) -> str:
    """Connections that say nothing: as many as this process may have files open, nearly."""
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
            for _ in range(900)
        ]
        sleep(2)
        ended = sum(map(_is_closed, opened))
    return f"{ended} of {len(opened)} closed"


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended a connection; what it said before that is read."""
    connection.setblocking(False)
    try:
        while said := connection.recv(4096):
            assert said
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _ending(call: Callable[[], object]) -> str:
    """Make a call and return its status."""
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def _counted(endings: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in endings.most_common())


def _fields(number: int, count: int) -> Callable[[str], bytes]:
    """Return what makes a message of empty fields: two bytes each."""
    return lambda _: bytes([number << 3 | 2, 0]) * count


def _unknown(size: int) -> bytes:
    """Return a message with one unknown field of so many bytes, below 2 ** 35."""
    length = bytes([size >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)] + [size >> 28])
    return b"\x7a" + length + bytes(size)


def _nested(depth: int) -> bytes:
    """Return a message of groups in groups."""
    return b"\x0b" * depth + b"\x0c" * depth


def _numbers(count: int) -> Callable[[str], bytes]:
    def message(model: str) -> bytes:
        request = oip.ModelInferRequest(model_name=model)
        numbers = request.inputs.add(name="image", datatype="UINT8", shape=[count]).contents
        numbers.uint_contents.extend(repeat(0, count))
        return request.SerializeToString()

    return message


INFER, CLASSIFY = f"{OIP}/ModelInfer", f"{VISION}/Classify"
ATTACKS: dict[str, Attack] = {
    "1 MB of 0xff to ModelInfer": sent(INFER, lambda _: b"\xff" * 1_000_000),
    "2,000,000 empty inputs": sent(INFER, _fields(5, 2_000_000)),
    "2,000,000 requested outputs": sent(INFER, _fields(6, 2_000_000)),
    "1,000,000 groups in groups": sent(INFER, lambda _: _nested(1_000_000)),
    "3,900,000 typed numbers": sent(INFER, _numbers(3_900_000)),
    "1,000,000 empty pictures to Classify": sent(CLASSIFY, _fields(3, 1_000_000)),
    "20,000 pictures of one pixel to Classify": picture_flood,
    "gzip that inflates to 1 GB": sent(INFER, lambda _: _unknown(1_000_000_000), gzip=True),
    "an unknown field of 300 MB to ServerLive": sent(
        f"{OIP}/ServerLive", lambda _: _unknown(300_000_000)
    ),
    "8 streams whose answers nobody reads": unread_streams,
    "20,000 calls reset at once": rapid_resets,
    "900 connections that say nothing": silent_connections,
    "shared memory cut while it is read": truncated_memory,
    "a load with 2,000 instances": load('{"instance_group": [{"count": 2000}]}'),
    "a load with 2,000,000,000 warm-up runs": load(
        '{"model_warmup": [{"name": "w", "batch_size": 1, "count": 2000000000, "inputs":'
        ' {"image": {"data_type": "TYPE_UINT8", "dims": [96, 96, 3], "zero_data": true}}}]}'
    ),
}
