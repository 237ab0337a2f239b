"""Execution providers of onnxruntime, as people ask for them. Knows none that is installed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crossrun_bench.errors import BenchError

_SUFFIX = "ExecutionProvider"  # people type what is before it, in any case


@dataclass(frozen=True)
class Provider:
    """An execution provider, as onnxruntime names it, and the options that it is given."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    environment: str = ""  # the name of the one it was asked from, where one was named
    precision: str = ""  # that it was told to compute fp32 in: f32, tf32, bf16, fp16; "" if unsaid

    def __str__(self) -> str:
        """OpenVINOExecutionProvider (device_type=GPU)."""
        return self.name + self._given()

    @property
    def place(self) -> str:
        """Which one, and where: OpenVINO@plugin."""
        name = self.name.removesuffix(_SUFFIX)
        return f"{name}@{self.environment}" if self.environment else name

    @property
    def label(self) -> str:
        """As a table names it: OpenVINO@plugin (device_type=GPU)."""
        return self.place + self._given()

    def _given(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f" ({given})" if given else ""


CPU = Provider(f"CPU{_SUFFIX}")


def short(name: str) -> str:
    """What people type: openvino for OpenVINOExecutionProvider."""
    return name.removesuffix(_SUFFIX).lower()


def asked(name: str, options: Sequence[str]) -> Provider:
    """What was asked for by NAME or NAME@ENVIRONMENT, with options KEY=VALUE.

    BenchError where an option has no "=".
    """
    provider, _, environment = name.partition("@")
    return Provider(provider, dict(_option(name, text) for text in options), environment)


def _option(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise BenchError(f"option '{text}' of {name}: expected KEY=VALUE, such as device_type=GPU")
    return key, value
