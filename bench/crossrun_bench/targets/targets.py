"""The table of targets: names, labels, and where each runner is. Imports no runner."""

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
    extra: str  # that brings what the runner imports
    served: bool = False  # through a crossrun-serve child
    server_options: tuple[str, ...] = ()  # what that child needs
    remote: bool = False  # through a running server, by its address
    conversion: str = ""  # module:function that converts the source Keras model for it
    detector: str = ""  # module:class of its runner for detectors, if it has one
    slow_start: bool = False  # takes seconds to start; such targets start together
    concurrent: bool = False  # in process, can be called by several threads at once

    @property
    def in_process(self) -> bool:
        """Whether the process that asks also computes."""
        return not self.served and not self.remote

    @property
    def on_provider(self) -> bool:
        """Whether an execution provider of onnxruntime computes it."""
        return self.served or self.name == "onnxruntime"


ENCODED = "grpc-jpeg"  # gets files instead of pixels: the server decodes and resizes
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
        conversion="tensorflow_:saved_model",
        slow_start=True,
        concurrent=True,
    ),
    Target("litert", "LiteRT", "litert_:LiteRt", "litert", conversion="tensorflow_:tflite"),
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
# Defaults: what accuracy compares with the source model, and what latency times.
COMPARED = "onnxruntime,grpc-raw,grpc-jpeg"
TIMED = f"{REFERENCE},tf-function,{COMPARED}"
ON_PROVIDERS = "onnxruntime,grpc-raw"  # the same where providers are compared


def label(name: str, provider: Provider | None = None) -> str:
    """A target's name for readers; results may hold targets that this version lacks."""
    text = TARGETS[name].label if name in TARGETS else name
    return f"{text}, {provider.label}" if provider else text


def chosen(names: Iterable[str], server: str | None = None) -> tuple[str, ...]:
    """The named targets, each once, in the order given.

    Raises:
        BenchError: a name is unknown, or `server`, the address of a running server, is missing or
            not needed.
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
        raise BenchError(f"--server '{server}': needs one of the targets {some}")
    if server is not None and not _ADDRESS.fullmatch(server):
        raise BenchError(f"--server '{server}': expected HOST:PORT")


def check_detects(name: str) -> None:
    """Refuse a target that cannot run a detector.

    Raises:
        BenchError: it cannot.
    """
    if not TARGETS[name].detector:
        some = ", ".join(target.name for target in _ALL if target.detector)
        raise BenchError(f"{name} runs no detector: expected some of {some}")


def runner_for(task: Task) -> Runner:
    """The loaded runner of a task.

    Raises:
        BenchError: its package is missing; the error names the extra.
    """
    target = TARGETS[task.target]
    place = target.detector if task.model.detector else target.runner
    with _needed(target.extra):
        runner: Runner = _imported(place)(task)
    return runner


def convert(task: Task) -> None:
    """Convert the source Keras model into `task.converted`.

    Raises:
        BenchError: a package is missing; the error names the extra.
    """
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
