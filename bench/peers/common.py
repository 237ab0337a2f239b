"""What the peers share: the command line, the session, and the announcement that one is ready.

A peer runs in an environment of its own. It sees nothing of the project except the model's file.
"""

import argparse
import platform
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

HOST = "127.0.0.1"
PROTO = Path(__file__).parents[2] / "proto"
sys.path.append(str(PROTO))  # for the peer that has no stubs of its own
_READY = "/inference.GRPCInferenceService/ModelReady"


@dataclass(frozen=True)
class Asked:
    """What to serve: a file, its name, and `sessions` of `threads` threads each."""

    onnx: str
    name: str
    threads: int
    sessions: int


def asked(peer: str | None) -> Asked:
    """Read the command line of a peer; `peer` is the docstring of its script."""
    parser = argparse.ArgumentParser(description=peer)
    parser.add_argument("onnx", help="MODEL.onnx")
    parser.add_argument("--name", required=True, help="of the model, for clients")
    parser.add_argument("--threads", type=int, default=1, help="of each session")
    parser.add_argument("--sessions", type=int, default=1, help="that work at once")
    return Asked(**vars(parser.parse_args()))


class Runner:
    """One session, called by `sessions` threads at once: this equals as many sessions."""

    def __init__(self, model: Asked) -> None:
        self._session = session(model.onnx, model.threads)
        self.pool = ThreadPoolExecutor(model.sessions)
        self.input = self._session.get_inputs()[0]
        self.output = self._session.get_outputs()[0].name

    def run(self, pixels: Any) -> Any:
        """Probabilities float32 [batch, classes] for uint8 [batch, H, W, 3]."""
        return self._session.run([self.output], {self.input.name: pixels})[0]


def session(onnx: str, threads: int) -> Any:
    """The file on the CPU; its threads spin, as is onnxruntime's default."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if _lacks_vnni():  # kernels for signed weights saturate there; crossrun does the same
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def _lacks_vnni() -> bool:
    cpu = Path("/proc/cpuinfo")
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return x86 and cpu.exists() and "vnni" not in cpu.read_text()


def free_port() -> int:
    """A port on which nobody listens: these servers cannot find one themselves."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def announce_when_ready(name: str, port: int) -> None:
    """Print `serving on HOST:PORT` once the gRPC server says that the model is ready."""
    threading.Thread(target=_announce, args=(name, port), daemon=True).start()


def _announce(name: str, port: int) -> None:
    import grpc  # noqa: PLC0415 - a peer that speaks HTTP has none

    request = b"\n" + bytes([len(name)]) + name.encode()  # ModelReadyRequest(name=name)
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        ask: Any = channel.unary_unary(_READY)
        while True:
            try:
                if ask(request, timeout=1.0) == b"\x08\x01":  # ModelReadyResponse(ready=True)
                    break
            except grpc.RpcError:
                pass
            time.sleep(0.1)
    say(f"{HOST}:{port}")


def say(address: str) -> None:
    """Print the line for which the bench waits."""
    print(f"serving on {address}", flush=True)  # noqa: T201 - the script's own output
