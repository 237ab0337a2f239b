"""What `crossrun-bench accuracy` measures of a classifier."""

from dataclasses import dataclass, field

from crossrun_bench.measurements.answers.comparison import Comparison
from crossrun_bench.measurements.result import Result
from crossrun_bench.models.info import ModelInfo


@dataclass(frozen=True, kw_only=True)
class AccuracyResult(Comparison, Result):
    """Answers of the targets of one model."""

    model: ModelInfo
    class_names: tuple[str, ...] = ()  # position by position; none if the model has no labels
    thumbnails: dict[str, str] = field(default_factory=dict)  # JPEG in base64, by picture
