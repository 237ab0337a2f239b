"""`crossrun-bench classify`: pictures to a running server, labels back. Knows Vision/Classify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.errors import BenchError
from crossrun_bench.prepare import listed
from crossrun_bench.runners.grpc_ import channel
from crossrun_bench.runners.grpc_ import classify as ask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Classes = list[tuple[str, float]]  # label and score, best first
_BATCH = 8
CONNECT_S = 10.0  # a server just started needs a moment


def named(images: Sequence[Path], address: str, model: str, top_k: int) -> dict[Path, Classes]:
    """The `top_k` classes of each picture; BenchError where the server can't be asked."""
    files = listed(images)
    answers: dict[Path, Classes] = {}
    with channel(address) as open_channel:
        _wait_for_server(open_channel, address)
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


def _wait_for_server(open_channel: grpc.Channel, address: str) -> None:
    try:
        grpc.channel_ready_future(open_channel).result(timeout=CONNECT_S)
    except grpc.FutureTimeoutError as error:
        raise BenchError(f"{address}: no server answered within {CONNECT_S:g} s") from error
