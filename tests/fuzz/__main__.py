"""The long run: `python -m tests.fuzz --messages 1000000`, which fails if a call ends wrongly.

A neighbour asks all the time whether the server lives, and its longest wait is told.
"""

import argparse
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.fuzz import calls, seeds
from tests.fuzz.target import target
from tests.support.running import Server

AT_ONCE = 32
RARE = 1e-3  # how often loads and streams without end come, which take long, if others come once
SLOW = (calls.WATCH, f"{seeds.OIP}/RepositoryModelLoad")


Ended = tuple[str, bytes, tuple[grpc.StatusCode, str]]


class Neighbour(Thread):
    """Asks whether the server lives, one call after the other."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.longest = 0.0  # seconds
        self.stop = Event()
        self._address = address

    def run(self) -> None:
        with grpc.insecure_channel(self._address) as channel:
            while not self.stop.wait(0.01):
                started = time.monotonic()
                with suppress(grpc.RpcError):
                    Stub(channel).ServerLive(pb.ServerLiveRequest())
                self.longest = max(self.longest, time.monotonic() - started)


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as room, target(Path(room), options.front) as server:
        neighbour = Neighbour(server.address)
        neighbour.start()
        wrong = _judged(server, options.messages, Random(options.seed))
        neighbour.stop.set()
        print(f"the neighbour waited {neighbour.longest:.3f} s at most")
        print(f"tracebacks in the log: {server.log.read_text().count('Traceback')}")
        status = server.stop()
    raise SystemExit(bool(wrong) or status)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--front", default="native", choices=["native", "python"])
    return parser.parse_args()


def _judged(server: Server, messages: int, random: Random) -> int:
    """Send so many messages, print how they ended, and return how many ended wrongly."""
    found: dict[str, Counter[str]] = {path: Counter() for path in seeds.METHODS}
    wrong = 0
    with grpc.insecure_channel(server.address) as channel:
        for path, data, (code, details) in _ended(channel, messages, random):
            found[path][code.name] += 1
            if calls.is_wrong(path, code, details):
                wrong += 1
                print(f"{path} {code.name} {details}: {data.hex()}", flush=True)
        alive = calls.lives(channel)
    for path, codes in sorted(found.items()):
        print(path, dict(codes))
    print(f"of {messages} messages {wrong} ended wrongly, and the server lives: {alive}")
    return wrong


def _ended(channel: grpc.Channel, messages: int, random: Random) -> Iterator[Ended]:
    """Send messages, several at once; iterate over them and how they ended."""
    sent: deque[tuple[str, bytes, Any]] = deque()
    weights = [RARE if path in SLOW else 1 for path in seeds.METHODS]
    for path in random.choices(list(seeds.METHODS), weights, k=messages):
        if len(sent) == AT_ONCE:
            yield _answered(*sent.popleft())
        data = calls.message(random, path)
        sent.append((path, data, calls.begin(channel, path, data)))
    for one in sent:
        yield _answered(*one)


def _answered(path: str, data: bytes, call: Any) -> Ended:
    return path, data, calls.ending(path, call)


if __name__ == "__main__":
    main()
