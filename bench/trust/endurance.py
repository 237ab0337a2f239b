"""Watches whether a server's memory and descriptors stay flat over very many mixed requests.

    .venv/bin/crossrun-export mobilenet --weights bundled --precision fp32,int8 --output models
    .venv/bin/python bench/trust/endurance.py models --model mobilenet --requests 1000000 \
        --front native --output endurance

Clients ask a real crossrun-serve for single rows, batches, pictures and streams, make mistakes,
cancel, come too late, and connect again. Meanwhile the model is replaced, and the other models of
the repository are loaded and unloaded. What the server's processes hold is read two hundred times
and written to OUTPUT.json, and as a plot to OUTPUT.html. The exit code is 1 if the memory or the
descriptors grew by more than --most-growth percent after the first tenth.
"""

import argparse
import io
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from PIL import Image

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.machine import machine
from crossrun_bench.processes.serving import running, serve_command

SAMPLES = 200
CONNECTION = 5000  # calls; then the client connects again
IDLE = 6.0  # seconds after the last request until the last reading
BATCH, STREAM = 8, 4  # rows; requests

Ask = Callable[["Client"], str]


@dataclass(frozen=True)
class Sample:
    """What the server's processes hold together at one moment."""

    requests: int
    seconds: float
    rss: int  # bytes
    descriptors: int
    threads: int


class Client:
    """One connection, and the requests that go over it."""

    def __init__(self, address: str, model: str) -> None:
        self.model = model
        options = [("grpc.use_local_subchannel_pool", 1)]  # else clients share a connection
        self.channel = grpc.insecure_channel(address, options)
        self.tensors: Any = Stub(self.channel)
        self.vision: Any = VisionStub(self.channel)
        told = self.tensors.ModelMetadata(pb.ModelMetadataRequest(name=model)).inputs[0]
        self.input, self.datatype, self.sizes = told.name, told.datatype, list(told.shape[1:])
        pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *self.sizes), np.uint8)
        self.rows = pixels if self.datatype == "UINT8" else pixels.astype(np.float32)
        file = io.BytesIO()
        Image.fromarray(pixels[0]).save(file, "JPEG")
        self.picture = file.getvalue()

    def request(self, rows: int = 1, model: str = "") -> pb.ModelInferRequest:
        """Make a request for so many rows."""
        message = pb.ModelInferRequest(model_name=model or self.model)
        message.inputs.add(name=self.input, datatype=self.datatype, shape=[rows, *self.sizes])
        message.raw_input_contents.append(self.rows[:rows].tobytes())
        return message


def one(client: Client) -> str:
    """Ask for a single row."""
    return _code(client.tensors.ModelInfer.future(client.request()))


def batch(client: Client) -> str:
    """Ask for several rows."""
    return _code(client.tensors.ModelInfer.future(client.request(BATCH)))


def picture(client: Client) -> str:
    """Ask what is in a picture."""
    return _code(client.vision.Classify.future(_pictures(client, client.picture)))


def no_picture(client: Client) -> str:
    """Send half a picture."""
    return _code(client.vision.Classify.future(_pictures(client, client.picture[:500])))


def wrong_size(client: Client) -> str:
    """Send a tensor that lacks a byte."""
    message = client.request()
    message.raw_input_contents[0] = message.raw_input_contents[0][1:]
    return _code(client.tensors.ModelInfer.future(message))


def unknown_model(client: Client) -> str:
    """Ask a model that is not there."""
    return _code(client.tensors.ModelInfer.future(client.request(model="nobody")))


def cancelled(client: Client) -> str:
    """Ask, and leave at once."""
    call = client.tensors.ModelInfer.future(client.request(BATCH))
    call.cancel()
    return _code(call)


def late(client: Client) -> str:
    """Ask with a deadline that few runs meet."""
    return _code(client.tensors.ModelInfer.future(client.request(BATCH), timeout=0.001))


def stream(client: Client) -> str:
    """Ask several times on a stream, once with a mistake."""
    messages = [client.request() for _ in range(STREAM)]
    messages[1].inputs[0].name = "nothing"
    answers = client.tensors.ModelStreamInfer(iter(messages))
    return f"{sum(not answer.error_message for answer in answers)} of {STREAM} answered"


# How often each is asked, of a hundred; what ends with more than one code is a race.
MIX: Mapping[Ask, int] = {
    one: 68, batch: 6, picture: 8, no_picture: 3, wrong_size: 4, unknown_model: 3, cancelled: 4,
    late: 3, stream: 1,
}  # fmt: skip


def _pictures(client: Client, data: bytes) -> vision_pb2.ClassifyRequest:
    return vision_pb2.ClassifyRequest(model=client.model, images=[data])


def _code(call: Any) -> str:
    name: str = call.code().name
    return name


class Load:
    """Clients that ask side by side, and what became of their requests."""

    def __init__(self, address: str, model: str, most: int) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.asked = 0
        self.address, self.model, self._most = address, model, most
        self._numbers = itertools.count()

    def ask(self, seed: int) -> None:
        """Ask until all clients together have asked enough."""
        kinds, weights = list(MIX), list(MIX.values())
        draw = random.Random(seed)  # noqa: S311 - which request comes next is no secret
        while self.asked < self._most:
            client = Client(self.address, self.model)
            for kind in draw.choices(kinds, weights, k=CONNECTION):
                if (number := next(self._numbers)) >= self._most:
                    break
                self.answers[kind.__name__, kind(client)] += 1
                self.asked = max(self.asked, number + 1)
            client.channel.close()


def swap(address: str, model: str, turn: int) -> None:
    """Replace the model by itself, and load and unload the others of the repository."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = Stub(channel)
        message = pb.RepositoryModelLoadRequest(model_name=model)
        if turn % 2:
            message.parameters["config"].string_param = json.dumps({"max_batch_size": BATCH})
        stub.RepositoryModelLoad(message)
        index = stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        for name in {line.name for line in index} - {model}:
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name))
            stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=name))


def sample(pid: int, load: Load, began: float) -> Sample:
    """Read what the server's processes hold."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return Sample(
        requests=load.asked,
        seconds=time.monotonic() - began,
        rss=sum(process.memory_info().rss for process in processes),
        descriptors=sum(process.num_fds() for process in processes),
        threads=sum(process.num_threads() for process in processes),
    )


def watched(pid: int, load: Load, arguments: argparse.Namespace) -> Iterator[Sample]:
    """Let clients ask, and read what the server holds as they go on, and once they have ended."""
    began, step = time.monotonic(), max(1, arguments.requests // SAMPLES)
    with ThreadPoolExecutor(arguments.clients) as pool:
        clients = [pool.submit(load.ask, seed) for seed in range(arguments.clients)]
        for turn in range(SAMPLES):
            while load.asked < turn * step and not all(client.done() for client in clients):
                time.sleep(0.02)
            yield sample(pid, load, began)
            if turn % arguments.swap_every == 0:
                swap(load.address, load.model, turn // arguments.swap_every)
        for client in clients:
            client.result()
    time.sleep(IDLE)
    yield sample(pid, load, began)


def growth(samples: Sequence[Sample], of: Callable[[Sample], int]) -> float:
    """Return by how many percent the last tenth is above the second."""
    tenth = len(samples) // 10
    first, last = samples[tenth : 2 * tenth], samples[-tenth:]
    before = statistics.median(map(of, first))
    return 100 * (statistics.median(map(of, last)) / before - 1)


def plotted(samples: Sequence[Sample], title: str) -> str:
    """Draw memory and descriptors over requests, as a page."""
    from plotly import graph_objects  # noqa: PLC0415 - it takes a second
    from plotly.subplots import make_subplots  # noqa: PLC0415 - as above

    figure = make_subplots(
        rows=2, shared_xaxes=True, subplot_titles=["resident memory, MB", "descriptors"]
    )
    requests = [one.requests for one in samples]
    for row, values in enumerate(
        ([s.rss / 1e6 for s in samples], [s.descriptors for s in samples])
    ):
        figure.add_trace(graph_objects.Scatter(x=requests, y=values), row=row + 1, col=1)
        figure.update_yaxes(rangemode="tozero", row=row + 1, col=1)
    figure.update_layout(title=title, showlegend=False)
    page: str = figure.to_html()
    return page


def main() -> int:
    """Run as the options say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--front", choices=["native", "python"], default="native")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--swap-every", type=int, default=5, help="readings")
    parser.add_argument("--most-growth", type=float, default=2.0, help="percent")
    parser.add_argument("--output", type=Path, default=Path("endurance"))
    arguments = parser.parse_args()
    options = ["--front", arguments.front, "--workers", str(arguments.workers)]
    with running(
        "crossrun-serve", [*serve_command(arguments.models, arguments.model), *options]
    ) as it:
        load = Load(it.address, arguments.model, arguments.requests)
        samples = list(watched(it.pid, load, arguments))
    return written(arguments, load, samples)


def written(arguments: argparse.Namespace, load: Load, samples: Sequence[Sample]) -> int:
    """Write the readings, and say what came out; returns the exit code."""
    *busy, idle = samples
    found = {
        name: growth(busy, of)
        for name, of in (("memory", lambda s: s.rss), ("descriptors", lambda s: s.descriptors))
    }
    answers = {f"{kind}: {code}": count for (kind, code), count in sorted(load.answers.items())}
    result = {
        "arguments": {name: str(value) for name, value in vars(arguments).items()},
        "machine": asdict(machine.describe()),
        "answers": answers,
        "growth_percent": found,
        "samples": [asdict(one) for one in samples],
    }
    arguments.output.with_suffix(".json").write_text(json.dumps(result, indent=1))
    title = f"{load.asked:,} mixed requests, front end {arguments.front}"
    arguments.output.with_suffix(".html").write_text(plotted(samples, title))
    lines = [f"{what}: {count:,}" for what, count in answers.items()]
    lines += [f"{name}: {value:+.1f} % after the first tenth" for name, value in found.items()]
    first, last, rest = (f"{one.rss / 1e6:.0f} MB" for one in (busy[0], busy[-1], idle))
    lines.append(f"resident {first} at first, {last} at last, {rest} when idle")
    sys.stdout.write("\n".join([title, *lines]) + "\n")
    return int(max(found.values()) > arguments.most_growth)


if __name__ == "__main__":
    sys.exit(main())
