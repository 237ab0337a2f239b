"""Which model a result is of."""

from dataclasses import dataclass

from crossrun_bench.models.model import Model


@dataclass(frozen=True)
class ModelInfo:
    """Which model was measured."""

    name: str
    version: str
    sha256: str  # of model.onnx
    source: dict[str, str]
    height: int
    width: int
    classes: int
    precision: str = "fp32"


def about(model: Model) -> ModelInfo:
    """The part of a model's description that a result keeps: no paths of the machine."""
    return ModelInfo(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        source=model.source,
        height=model.height,
        width=model.width,
        classes=model.classes,
        precision=model.precision,
    )
