"""Finds the Python environment that has an execution provider.

Each build of onnxruntime needs an environment of its own.
"""

import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.providers import Provider, short
from crossrun_bench.targets.exactness import precision

ROOT = Path(__file__).parents[3]  # the checkout: no wheel holds scripts and environments
EXTRAS = {"openvino": "openvino", "cuda": "gpu", "tensorrt": "gpu"}


@dataclass(frozen=True)
class Backend:
    """An execution provider, and the Python that has it."""

    provider: Provider
    python: str
    onnxruntime: str  # its version, and the plugin's if the provider is a plugin


def backend(asked: Provider, given: Mapping[str, Path]) -> Backend:
    """Find the environment that has the provider.

    It looks for an environment of `given` with the provider's name, or the name after its "@";
    without one, in this environment, and then in the checkout's `.venv-NAME`.

    Raises:
        BenchError: no environment has it; the error says what would help.
    """
    seen: set[str] = set()
    for python in _candidates(asked, given):
        have = _available(python)
        for full, version in have.items():
            if asked.name.lower() in {full.lower(), short(full)}:
                found = replace(asked, name=full)
                return Backend(replace(found, precision=precision(found)), python, version)
        seen |= have.keys()
    raise BenchError(_missing(asked.name, seen))


def _candidates(asked: Provider, given: Mapping[str, Path]) -> Iterator[str]:
    name = asked.environment or asked.name.lower()
    made = ROOT / f".venv-{name}"
    if name in given:
        yield _python(name, given[name])
    elif asked.environment:
        yield _python(name, made)
    else:
        yield sys.executable
        if made.exists():
            yield _python(name, made)


def _python(name: str, folder: Path) -> str:
    found = folder / "bin" / "python"
    if not found.exists():
        raise BenchError(
            f"no Python environment '{name}' in {folder}: expected one of `make environments`, "
            f"or --environment {name}=DIR"
        )
    return str(found.absolute())


@functools.cache
def _available(python: str) -> dict[str, str]:
    """The providers that `sessions` finds there."""
    module = [python, "-m", "crossrun_bench.targets.sessions"]
    done = subprocess.run(module, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        found: dict[str, str] = json.loads(done.stdout)
        return found
    said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
    raise BenchError(
        f"{python}: expected {distribution.NAME} and a build of onnxruntime there: {said}"
    )


def _missing(name: str, have: set[str]) -> str:
    has = ", ".join(sorted(map(short, have)))
    extra = EXTRAS.get(name.lower())
    having = f" with {distribution.the_extra(extra)}" if extra else ""
    made = "; `make environments` makes one" if extra == "openvino" else ""
    return (
        f"no execution provider '{name}' here, but {has}: "
        f"name an environment{having} by --environment {name}=DIR{made}"
    )
