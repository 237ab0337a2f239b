"""Load over REST: of servers that run already, and of those that answer it otherwise than ours."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.tasks import Request
from tests.support import fakes
from tests.support.running import HTTP, Command, serving

HEAD_SIZE = "Inference-Header-Content-Length"
Reply = tuple[dict[str, str], bytes]


@contextmanager
def answering(reply: Reply, asked: list[Reply]) -> Iterator[str]:
    """A server that answers each POST the same, and notes what it was asked; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(({":path": self.path, **self.headers}, body))
            self.send_response(200)
            for name, value in {**reply[0], "Content-Length": str(len(reply[1]))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply[1])

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def turn(request: Request, address: str, form: str) -> dict[str, Any]:
    """A short turn of the generator."""
    with fakes.generator(request) as child:
        how = {"address": address, "form": form, "clients": 1, "warm": 0.01, "seconds": 0.2}
        return child.ask(do="turn", **how)


def in_json(request: Request) -> Reply:
    """The right answer as numbers."""
    data = np.load(request.expected).ravel().tolist()
    return {}, json.dumps({"outputs": [{"name": request.model.output_name, "data": data}]}).encode()


def behind(request: Request) -> Reply:
    """The right answer as bytes behind the JSON, and behind those of another output."""
    scores = np.load(request.expected).tobytes()
    sizes = {"other": 3, request.model.output_name: len(scores)}
    outputs = [{"name": n, "parameters": {"binary_data_size": sizes[n]}} for n in sizes]
    text = json.dumps({"outputs": outputs}).encode()
    return {HEAD_SIZE: str(len(text))}, text + b"---" + scores


@pytest.mark.parametrize("answer", [in_json, behind])
def test_a_reply_is_read_wherever_its_numbers_are(
    answer: Callable[[Request], Reply], request_: Request
) -> None:
    """Other servers may answer in JSON what was asked in bytes, and the other way round."""
    asked: list[Reply] = []
    with answering(answer(request_), asked) as address:
        for form in ("rest-binary", "rest-json"):
            found = turn(request_, address, form)
            assert found["us"]
            assert not found["errors"]
    pixels = np.load(request_.pixels)
    (headers, body), (_, text) = asked[0], asked[-1]
    assert {headers[":path"] for headers, _ in asked} == {"/v2/models/colours/infer"}
    assert body[int(headers[HEAD_SIZE]) :] == pixels.tobytes()
    (tensor,) = json.loads(text)["inputs"]
    assert tensor["data"] == pixels.ravel().tolist()
    assert tensor["shape"] == list(pixels.shape)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "generator: expected an output 'scores', got"),
        (b'{"outputs": [{"name": "scores", "data": [9, 9, 9]}]}', "differs from in process by"),
        (b"welcome", "generator: JSONDecodeError: Expecting value"),
    ],
)
@pytest.mark.parametrize("form", ["rest-binary", "rest-json"])
def test_a_wrong_answer_over_rest_ends_the_run(
    form: str, body: bytes, said: str, request_: Request
) -> None:
    """A page that says hello is fast, and is no server to measure."""
    with answering(({}, body), []) as address, pytest.raises(BenchError, match=said):
        turn(request_, address, form)


def test_a_running_server_is_asked_by_rest(colours: Path, tmp_path: Path, run: Command) -> None:
    """By its URL, with tensors behind the JSON; all answered."""
    out = tmp_path / "l.json"
    options = ["--clients", 2, "--rate", 50, "--rounds", 1, "--seconds", 0.1, "--output", out]
    with serving(colours, tmp_path / "log", *HTTP) as server:
        options += ["--server", f"other={server.http}"]
        done = run("crossrun-bench", "load", colours, "--model", "colours", *options)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LoadResult)
    other = result.targets[-1]
    assert other.target == "other"
    assert [(turn.clients, turn.rate) for turn in other.turns] == [(2, None), (0, 50)]
    assert all(turn.us and not turn.errors for turn in other.turns)
