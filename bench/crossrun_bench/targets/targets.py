"""What can be measured: names, labels, and where each runner lives. Imports none of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.providers import Provider
from crossrun_bench.targets.task import Runner, Task

_ADDRESS = re.compile(r"\S+:\d+")


@dataclass(frozen=True)
class Target:
    """One way to get probabilities, or objects, for pictures."""

    name: str
    label: str
    runner: str  # module:class
    extra: str  # which brings what the runner imports
    served: bool = False  # through a crossrun-serve child
    server_options: tuple[str, ...] = ()  # what that child needs
    remote: bool = False  # through a running server, by its address
    conversion: str = ""  # module:function that makes what it runs of the source Keras model
    detector: str = ""  # module:class of what runs a detector, where something does
    slow_start: bool = False  # takes seconds to start: such targets start at the same time
    concurrent: bool = False  # in process: takes calls of several threads at the same time

    @property
    def in_process(self) -> bool:
        """Whether the process that asks computes it, too."""
        return not self.served and not self.remote

    @property
    def on_provider(self) -> bool:
        """Whether an execution provider of onnxruntime computes it."""
        return self.served or self.name == "onnxruntime"


ENCODED = "grpc-jpeg"  # sees no pixels, but the files: the server decodes and resizes
_ALL = (
    Target(
        "keras-predict",
        "Keras predict",
        "tensorflow_:KerasPredict",
        "export",
        detector="tensorflow_:KerasDetector",
        slow_start=True,
    ),
    Target(
        "tf-function",
        "tf.function",
        "tensorflow_:TensorFlowFunction",
        "export",
        detector="tensorflow_:DetectorFunction",
        slow_start=True,
        concurrent=True,
    ),
    Target(
        "saved-model",
        "SavedModel",
        "tensorflow_:SavedModel",
        "export",
        conversion="conversions_:saved_model",
        slow_start=True,
        concurrent=True,
    ),
    Target("litert", "LiteRT", "litert_:LiteRt", "litert", conversion="conversions_:tflite"),
    Target(
        "onnxruntime",
        "ONNX Runtime",
        "onnxruntime_:OnnxRuntime",
        "cpu",
        detector="onnxruntime_:Detector",
        concurrent=True,
    ),
    Target("openvino", "OpenVINO", "openvino_:OpenVino", "openvino-runtime"),
    Target(
        "grpc-raw",
        "gRPC server, raw tensor",
        "grpc_:RawTensor",
        "cpu",
        served=True,
        detector="detect_:RawTensor",
    ),
    Target("grpc-typed", "gRPC server, typed tensor", "grpc_:TypedTensor", "cpu", served=True),
    Target(
        "grpc-shm",
        "gRPC server, shared memory",
        "shared_memory_:SharedTensor",
        "cpu",
        served=True,
        server_options=("--shared-memory",),
    ),
    Target(
        ENCODED,
        "gRPC server, JPEG",
        "grpc_:EncodedPictures",
        "cpu",
        served=True,
        detector="detect_:EncodedPictures",
    ),
    Target("oip", "Open Inference Protocol", "oip_:OpenInference", "cpu", remote=True),
    Target("tfserving", "TensorFlow Serving", "tfserving_:Predict", "cpu", remote=True),
)
TARGETS = {target.name: target for target in _ALL}
IN_PROCESS = tuple(target.name for target in _ALL if target.in_process)
REFERENCE = "keras-predict"  # accuracy compares everything with the source model
# Unless others are asked for: what accuracy compares with it, and what latency times.
COMPARED = "onnxruntime,grpc-raw,grpc-jpeg"
TIMED = f"{REFERENCE},tf-function,{COMPARED}"
ON_PROVIDERS = "onnxruntime,grpc-raw"  # the same where providers are compared


def label(name: str, provider: Provider | None = None) -> str:
    """Name of a target as a reader sees it; results may hold targets this version lacks."""
    text = TARGETS[name].label if name in TARGETS else name
    return f"{text}, {provider.label}" if provider else text


def chosen(names: Iterable[str], server: str | None = None) -> tuple[str, ...]:
    """The named targets, each once, in the order given.

    BenchError for a name that is none, and where `server`, the address of a running one, is
    missing or of no use.
    """
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in TARGETS:
            raise BenchError(f"unknown target '{name}': expected some of {', '.join(TARGETS)}")
    if not wanted:
        raise BenchError(f"no targets: expected some of {', '.join(TARGETS)}")
    _check_address(server, [name for name in wanted if TARGETS[name].remote])
    return wanted


def _check_address(server: str | None, remote: Sequence[str]) -> None:
    if server is None and remote:
        raise BenchError(f"{remote[0]} is a running server: expected --server HOST:PORT")
    if server is not None and not remote:
        some = ", ".join(target.name for target in _ALL if target.remote)
        raise BenchError(f"--server '{server}': of no use without one of the targets {some}")
    if server is not None and not _ADDRESS.fullmatch(server):
        raise BenchError(f"--server '{server}': expected HOST:PORT")


def check_detects(name: str) -> None:
    """BenchError for a target that runs no detector."""
    if not TARGETS[name].detector:
        some = ", ".join(target.name for target in _ALL if target.detector)
        raise BenchError(f"{name} runs no detector: expected some of {some}")


def runner_for(task: Task) -> Runner:
    """The loaded runner of a task; BenchError naming the extra where its package is missing."""
    target = TARGETS[task.target]
    place = target.detector if task.model.detector else target.runner
    with _needed(target.extra):
        runner: Runner = _imported(place)(task)
    return runner


def convert(task: Task) -> None:
    """Make `task.converted` of the source Keras model; BenchError as above."""
    with _needed("export"):
        _imported(TARGETS[task.target].conversion)(task.model, task.converted)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"crossrun_bench.targets.runners.{module}"), name)


@contextmanager
def _needed(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise BenchError(distribution.missing(error.name, extra)) from error
