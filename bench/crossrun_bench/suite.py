"""`crossrun-bench run`: a whole study, from export to report, described in one TOML file.

    title = "…"

    [[step]]
    run = "export mobilenet"    # crossrun-export, into the study's model repository
    alpha = 0.25                # --alpha 0.25

    [[step]]
    run = "latency"             # crossrun-bench, on that repository
    model = "mobilenet"
    variant = ["openvino", "openvino num_of_threads=1"]  # given twice
    json = true                 # a flag

Each step is a command with its options, so whatever can be typed can be a step; what the options
mean is the commands' business. A step whose result lies there is not run again.
"""

import os
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from crossrun_bench import files, store
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.result import Result
from crossrun_bench.processes.serving import sibling
from crossrun_bench.store import Study

_SHIPPED = resources.files("crossrun_bench") / "suites"
_COPY, _MODELS, _STUDY = "suite.toml", "models", "study.json"


@dataclass(frozen=True)
class Step:
    """One command, `export …` or one of crossrun-bench's, and its options as words."""

    run: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def exports(self) -> bool:
        """Whether it makes models rather than results."""
        return self.run[0] == "export"


@dataclass(frozen=True)
class Suite:
    """The steps of a study, the text that they were read from, and where everything goes."""

    text: str
    folder: Path
    steps: tuple[Step, ...]


def read(name: str, folder: Path) -> Suite:
    """The suite in a file, or a suite of ours by its name.

    `$NAME` in an option is the environment's, `$STUDY` the folder of the study.

    Raises:
        BenchError: there is no such suite, or it is not a list of steps.
    """
    shipped = sorted(file.name.removesuffix(".toml") for file in _SHIPPED.iterdir())
    file = _SHIPPED / f"{name}.toml" if name in shipped else Path(name)
    try:
        text = file.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        expected = f"expected a file, or one of {', '.join(shipped)}"
        raise BenchError(f"suite '{name}' cannot be read: {error.strerror}; {expected}") from error
    except ValueError as error:
        raise BenchError(f"suite '{name}' is no TOML: {error}") from error
    found = document.get("step")
    if not isinstance(found, list) or not found:
        raise BenchError(f"suite '{name}' has no [[step]]")
    values = os.environ | {"STUDY": str(folder)}
    steps = (_step(f"suite '{name}', step {i}", step, values) for i, step in enumerate(found, 1))
    return Suite(text, folder, tuple(steps))


def run(suite: Suite, command: str, check: Callable[[Sequence[str]], None]) -> Sequence[Result]:
    """Run the steps that have no result yet, and write the study; returns its results.

    Args:
        suite: what to run; results of it that are in its folder are kept.
        command: what was typed.
        check: raises BenchError for words that are no command of crossrun-bench.

    Raises:
        BenchError: a step is no command, or fails; or the folder holds another suite's results.
    """
    folder = suite.folder
    outputs = [_output(folder, i, step) for i, step in enumerate(suite.steps, 1)]
    commands = [
        _words(step, folder, output) for step, output in zip(suite.steps, outputs, strict=True)
    ]
    for step, words in zip(suite.steps, commands, strict=True):
        if not step.exports:
            check(words)
    _claim(folder, suite)
    for step, words, output in zip(suite.steps, commands, outputs, strict=True):
        if not output.exists():
            _run(step, words, output)
    found = [store.read(file) for file in outputs if file.suffix == ".json"]
    store.write_study(folder / _STUDY, Study(command, suite.text, tuple(found)))
    return found


def _step(where: str, table: Any, values: Mapping[str, str]) -> Step:
    words = table.get("run", "").split() if isinstance(table, dict) else []
    if not words:
        raise BenchError(f'{where}: expected run = "latency", "export mobilenet" or the like')
    options = [(key, value) for key, value in table.items() if key != "run"]
    return Step(tuple(words), tuple(w for o in options for w in _option(where, *o, values)))


def _option(where: str, key: str, value: Any, values: Mapping[str, str]) -> list[str]:
    if value is True:
        return [f"--{key}"]
    given = value if isinstance(value, list) else [value]
    if not all(type(one) in (str, int, float) for one in given):
        raise BenchError(f"{where}: {key} is {value!r}, expected text, a number, true or a list")
    try:
        texts = [Template(str(one)).substitute(values) for one in given]
    except KeyError as error:
        raise BenchError(f"{where}: {key} needs the environment variable {error}") from error
    return [word for text in texts for word in (f"--{key}", text)]


def _output(folder: Path, number: int, step: Step) -> Path:
    name = "-".join(word for word in step.run if word.isidentifier())
    return folder / f"{number:02}-{name}.{'done' if step.exports else 'json'}"


def _words(step: Step, folder: Path, output: Path) -> list[str]:
    models = str(folder / _MODELS)
    if step.exports:
        command = [sibling("crossrun-export", "export"), *step.run[1:]]
        return [*command, *step.options, "--output", models]
    command = [sibling("crossrun-bench", "bench"), *step.run, models]
    return [*command, *step.options, "--output", str(output)]


def _claim(folder: Path, suite: Suite) -> None:
    """Results of one folder are of one suite, in one state of it."""
    copy = folder / _COPY
    if not copy.exists():
        files.write_text(copy, suite.text)
    elif copy.read_text("utf-8") != suite.text:
        raise BenchError(f"{folder} holds results of another suite; expected another --output")


def _run(step: Step, words: Sequence[str], output: Path) -> None:
    done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        again = "run the suite again to go on from there"
        raise BenchError(f"{' '.join(step.run)} ended with status {done.returncode}; {again}")
    if step.exports:
        files.write_text(output, shlex.join(words) + "\n")
