"""`crossrun-bench classify`: asks a running server for the labels of pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc

from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.errors import BenchError
from crossrun_bench.pictures.prepare import listed
from crossrun_bench.targets.channels import channel
from crossrun_bench.targets.runners.grpc_ import classify as ask

Classes = list[tuple[str, float]]  # label and score, best first
_BATCH = 8
CONNECT_S = 10.0  # a server that was just started needs a moment


def named(images: Sequence[Path], address: str, model: str, top_k: int) -> dict[Path, Classes]:
    """The `top_k` best classes of each picture.

    Raises:
        BenchError: there are no pictures, or the server cannot be asked.
    """
    files = listed(images)
    answers: dict[Path, Classes] = {}
    with connected(address) as open_channel:
        stub = VisionStub(open_channel)
        for start in range(0, len(files), _BATCH):
            group = files[start : start + _BATCH]
            try:
                results = ask(stub, model, [file.read_bytes() for file in group], top_k)
            except BenchError as error:
                raise BenchError(f"{address}: {error}") from error
            for file, result in zip(group, results, strict=True):
                answers[file] = [(c.label, c.score) for c in result.classes]
    return answers


@contextmanager
def connected(address: str) -> Iterator[grpc.Channel]:
    """A channel to a server, once it answers.

    Raises:
        BenchError: no server answers.
    """
    with channel(address) as opened:
        try:
            grpc.channel_ready_future(opened).result(timeout=CONNECT_S)
        except grpc.FutureTimeoutError as error:
            raise BenchError(f"{address}: no server answered within {CONNECT_S:g} s") from error
        yield opened
