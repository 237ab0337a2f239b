"""The table of targets: names, labels, and where each runner is. Imports no runner."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model
from crossrun_bench.models.original import CALLED, KERAS, LITERT, ONNXRUNTIME, TENSORFLOW
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


def reference(model: Model) -> str:
    """The target that runs the model's original as it is."""
    return REFERENCES[model.original.runtime]


def timed(model: Model) -> str:
    """What latency times if nothing else is asked for."""
    function = ",tf-function" if model.original.runtime == KERAS else ""
    return f"{reference(model)}{function},{COMPARED}"


def check_runs(name: str, model: Model) -> None:
    """Refuse a target that cannot run a model.

    Raises:
        BenchError: it cannot; the error names those that can.
    """
    target = TARGETS[name]
    if model.detector and not target.detector:
        some = ", ".join(target.name for target in _ALL if target.detector)
        raise BenchError(f"{name} runs no detector: expected some of {some}")
    if not _runs(target, model):
        what = f"{name} runs {' or '.join(CALLED[runtime] for runtime in target.originals)}"
        some = ", ".join(other.name for other in _ALL if _runs(other, model))
        own = f"{model.name} was made from {CALLED[model.original.runtime]}"
        raise BenchError(f"{what}, and {own}: expected some of {some}")


def _runs(target: Target, model: Model) -> bool:
    return (not target.originals or model.original.runtime in target.originals) and (
        not model.detector or bool(target.detector)
    )


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


def conversion(task: Task) -> str:
    """What converts the original for the task's target; empty if nothing has to."""
    return TARGETS[task.target].originals.get(task.model.original.runtime, "")


def convert(task: Task) -> None:
    """Convert the original into `task.converted`.

    Raises:
        BenchError: a package is missing; the error names the extra.
    """
    with _needed("export"):
        _imported(conversion(task))(task.model, task.converted)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"crossrun_bench.targets.runners.{module}"), name)


@contextmanager
def _needed(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise BenchError(distribution.missing(error.name, extra)) from error
