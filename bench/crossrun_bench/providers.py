"""Execution providers of onnxruntime, as users name them. Does not know which are installed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crossrun_bench.errors import BenchError

_SUFFIX = "ExecutionProvider"  # users type what is before it, in any case


@dataclass(frozen=True)
class Provider:
    """An execution provider, with onnxruntime's name, and its options."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    environment: str = ""  # the name of the environment, if the user named one
    precision: str = ""  # in which it computes fp32: f32, tf32, bf16, fp16; "" if unknown

    def __str__(self) -> str:
        """OpenVINOExecutionProvider (device_type=GPU)."""
        return self.name + self._given()

    @property
    def place(self) -> str:
        """The provider and its environment: OpenVINO@plugin."""
        name = self.name.removesuffix(_SUFFIX)
        return f"{name}@{self.environment}" if self.environment else name

    @property
    def label(self) -> str:
        """The name in tables: OpenVINO@plugin (device_type=GPU)."""
        return self.place + self._given()

    def _given(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f" ({given})" if given else ""


CPU = Provider(f"CPU{_SUFFIX}")


def short(name: str) -> str:
    """What users type: openvino for OpenVINOExecutionProvider."""
    return name.removesuffix(_SUFFIX).lower()


def asked(name: str, options: Sequence[str]) -> Provider:
    """The provider for NAME or NAME@ENVIRONMENT, with options KEY=VALUE.

    Raises:
        BenchError: an option is not KEY=VALUE.
    """
    provider, _, environment = name.partition("@")
    return Provider(provider, dict(_option(name, text) for text in options), environment)


def _option(name: str, text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise BenchError(f"option '{text}' of {name}: expected KEY=VALUE, such as device_type=GPU")
    return key, value
