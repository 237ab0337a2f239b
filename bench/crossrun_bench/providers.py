"""Which execution provider of onnxruntime is meant, by the names that people type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crossrun_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUFFIX = "ExecutionProvider"  # people type what is before it, in lower case


@dataclass(frozen=True)
class Provider:
    """An execution provider, as onnxruntime names it, and the options that it is given."""

    name: str
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """OpenVINOExecutionProvider (device_type=GPU)."""
        given = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name} ({given})" if given else self.name


CPU = Provider(f"CPU{_SUFFIX}")


def provider(name: str, options: Sequence[str]) -> Provider:
    """The provider of a short name such as "cuda", with options KEY=VALUE.

    BenchError where this build of onnxruntime has none of that name, or an option has no "=".
    """
    available = onnxruntime().get_available_providers()
    by_name = {full.removesuffix(_SUFFIX).lower(): full for full in available}
    if name.lower() not in by_name:
        have = ", ".join(by_name)
        raise BenchError(f"--provider '{name}': this build of onnxruntime has only {have}")
    return Provider(by_name[name.lower()], dict(map(_option, options)))


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise BenchError(f"--provider-option '{text}': expected KEY=VALUE, such as device_type=GPU")
    return key, value


def onnxruntime() -> Any:
    """The package; BenchError that names the extra where it is missing."""
    try:
        import onnxruntime  # noqa: PLC0415 - only what needs it waits for it
    except ModuleNotFoundError as error:
        raise BenchError("onnxruntime is not installed: pip install 'crossrun[cpu]'") from error
    return onnxruntime
