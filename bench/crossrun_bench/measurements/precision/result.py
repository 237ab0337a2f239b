"""What `crossrun-bench precision` measures."""

from dataclasses import dataclass

from crossrun_bench.measurements.answers.comparison import Comparison
from crossrun_bench.measurements.result import Result
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.providers import Provider


@dataclass(frozen=True)
class MeasuredModel:
    """One precision of a source model, in process."""

    model: ModelInfo
    file_bytes: int  # of model.onnx
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Precisions:
    """All precisions of one source model, fp32 first, and what each said."""

    models: tuple[MeasuredModel, ...]
    answers: (
        Comparison | None
    )  # the original's, then each model's, by its name; null without pictures


@dataclass(frozen=True)
class PrecisionResult(Result):
    """Interleaved turns of all precisions of some source models on one execution provider."""

    provider: Provider
    sources: tuple[Precisions, ...]
    onnxruntime: str | None = None  # version where the provider is

    @property
    def models(self) -> list[MeasuredModel]:
        """All precisions of all source models."""
        return [model for source in self.sources for model in source.models]
