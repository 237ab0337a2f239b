"""What a result keeps about the model that was measured."""

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
    """What a result keeps: no paths of this machine."""
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
