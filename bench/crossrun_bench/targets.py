"""What can be measured: names, labels, and where each runner lives. Imports none of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from crossrun_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crossrun_bench.providers import Provider
    from crossrun_bench.runners import Runner, Task


@dataclass(frozen=True)
class Target:
    """One way to get probabilities for pictures."""

    name: str
    label: str
    runner: str  # module:class
    extra: str  # what `pip install 'crossrun[…]'` must name
    served: bool = False  # through a crossrun-serve child
    slow_start: bool = False  # takes seconds to start: such targets start at the same time

    @property
    def on_provider(self) -> bool:
        """Whether an execution provider of onnxruntime computes it."""
        return self.served or self.name == "onnxruntime"


_ALL = (
    Target("keras-predict", "Keras predict", "tensorflow_:KerasPredict", "export", slow_start=True),
    Target(
        "tf-function", "tf.function", "tensorflow_:TensorFlowFunction", "export", slow_start=True
    ),
    Target("onnxruntime", "ONNX Runtime", "onnxruntime_:OnnxRuntime", "cpu"),
    Target("grpc-raw", "gRPC server, raw tensor", "grpc_:RawTensor", "cpu", served=True),
    Target("grpc-jpeg", "gRPC server, JPEG", "grpc_:EncodedPictures", "cpu", served=True),
)
TARGETS = {target.name: target for target in _ALL}
REFERENCE = "keras-predict"  # accuracy compares everything with the source model
COMPARED = (REFERENCE, "onnxruntime", "grpc-raw", "grpc-jpeg")


ON_PROVIDERS = ("onnxruntime", "grpc-raw")  # measured by default where providers are compared


def label(name: str, provider: Provider | None = None) -> str:
    """Name of a target as a reader sees it; results may hold targets this version lacks."""
    text = TARGETS[name].label if name in TARGETS else name
    return f"{text}, {provider.label}" if provider else text


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The named targets, each once, in the order given; BenchError for a name that is none."""
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in TARGETS:
            raise BenchError(f"unknown target '{name}': expected some of {', '.join(TARGETS)}")
    if not wanted:
        raise BenchError(f"no targets: expected some of {', '.join(TARGETS)}")
    return wanted


def runner_for(task: Task) -> Runner:
    """The loaded runner of a task; BenchError naming the extra where its package is missing."""
    target = TARGETS[task.target]
    module, _, cls = target.runner.partition(":")
    try:
        make = getattr(import_module(f"crossrun_bench.runners.{module}"), cls)
        runner: Runner = make(task)
    except ModuleNotFoundError as error:
        raise BenchError(
            f"needs {error.name}, which is not installed: pip install 'crossrun[{target.extra}]'"
        ) from error
    return runner
