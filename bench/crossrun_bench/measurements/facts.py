"""What has to be alike for two results to be compared, besides the machine. Knows no result."""

from collections.abc import Iterable

from crossrun_bench.models.info import ModelInfo
from crossrun_bench.providers import Provider
from crossrun_bench.targets.exactness import has_choice


def of_model(model: ModelInfo) -> dict[str, str]:
    """The model's name and its source; its file may differ."""
    return {"model": model.name, "source": source(model)}


def source(model: ModelInfo) -> str:
    """What the model was made from, and what it takes and returns."""
    made = ", ".join(f"{key} {value}" for key, value in sorted(model.source.items()))
    return f"{made}, {model.height} × {model.width}, {model.classes} classes"  # noqa: RUF001


def of_providers(providers: Iterable[Provider | None]) -> dict[str, str]:
    """What each provider with a choice was told to compute fp32 in; older files told none."""
    return {
        f"fp32 of {one.label}": one.precision or "left to the provider"
        for one in providers
        if one and has_choice(one.name)
    }
