"""The table of targets: names, labels, and where each runner is. Imports no runner."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.models.original import KERAS, LITERT, ONNXRUNTIME, TENSORFLOW
from crossrun_bench.providers import Provider
from crossrun_bench.targets.task import Runner, Task


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
    # Originals that it runs, by their runtime: module:function that converts each, "" if none has
    # to. Empty for a target that runs model.onnx, whatever that was made from.
    originals: Mapping[str, str] = field(default_factory=dict)
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
        originals={KERAS: ""},
        detector="tensorflow_:KerasDetector",
        slow_start=True,
    ),
    Target(
        "tf-function",
        "tf.function",
        "tensorflow_:TensorFlowFunction",
        "export",
        originals={KERAS: ""},
        detector="tensorflow_:DetectorFunction",
        slow_start=True,
        concurrent=True,
    ),
    Target(
        "saved-model",
        "SavedModel",
        "saved_model_:SavedModel",
        "export",
        originals={KERAS: "tensorflow_:saved_model", TENSORFLOW: ""},
        detector="saved_model_:SavedModel",
        slow_start=True,
        concurrent=True,
    ),
    Target(
        "litert",
        "LiteRT",
        "litert_:LiteRt",
        "litert",
        originals={
            KERAS: "tensorflow_:tflite",
            TENSORFLOW: "saved_model_:tflite",
            LITERT: "",
        },
        detector="litert_:LiteRt",
    ),
    Target(
        "onnx-original",
        "ONNX file as it was",
        "onnxruntime_:Original",
        "cpu",
        originals={ONNXRUNTIME: ""},
        detector="onnxruntime_:Original",
        concurrent=True,
    ),
    Target(
        "onnxruntime",
        "ONNX Runtime",
        "onnxruntime_:OnnxRuntime",
        "cpu",
        detector="onnxruntime_:Detector",
        concurrent=True,
    ),
    Target(
        "openvino",
        "OpenVINO",
        "openvino_:OpenVino",
        "openvino-runtime",
        detector="openvino_:Detector",
    ),
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
# The target that runs an original as it is, by its runtime: others are compared with it.
REFERENCES = {
    KERAS: "keras-predict",
    TENSORFLOW: "saved-model",
    LITERT: "litert",
    ONNXRUNTIME: "onnx-original",
}
# What accuracy compares with the original, and what latency times beside it.
COMPARED = "onnxruntime,grpc-raw,grpc-jpeg"
ON_PROVIDERS = "onnxruntime,grpc-raw"  # the same where providers are compared


def label(name: str, provider: Provider | None = None) -> str:
    """A target's name for readers; results may hold targets that this version lacks."""
    text = TARGETS[name].label if name in TARGETS else name
    return f"{text}, {provider.label}" if provider else text


def runner_for(task: Task) -> Runner:
    """The loaded runner of a task.

    Raises:
        BenchError: its package is missing, and the error names the extra; or the original is.
    """
    target = TARGETS[task.target]
    place = target.detector if task.model.detector else target.runner
    with _needed(target.extra):
        make = _imported(place)
        if target.originals:
            _check_there(task.file)
        runner: Runner = make(task)
    return runner


def conversion(task: Task) -> str:
    """What converts the original for the task's target; empty if nothing has to."""
    return TARGETS[task.target].originals.get(task.model.original.runtime, "")


def convert(task: Task) -> None:
    """Convert the original into `task.converted`.

    Raises:
        BenchError: a package is missing, and the error names the extra; or the original is.
    """
    _check_there(task.model.original.file)
    with _needed("export"):
        _imported(conversion(task))(task.model, task.converted)


def _check_there(file: str) -> None:
    if not Path(file).exists():
        some = ", ".join(target.name for target in _ALL if not target.originals)
        raise BenchError(f"{file} is not there, the original: expected targets of {some}")


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"crossrun_bench.targets.runners.{module}"), name)


@contextmanager
def _needed(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise BenchError(distribution.missing(error.name, extra)) from error
