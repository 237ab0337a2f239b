"""Changes how a model is served, and takes the change back if its answers are not the same.

The server builds the new model beside the old one, so that no request fails. What it does not do is
done here: the same questions before and after, and a way back from whatever happens in between.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from crossrun.oip.model_config_pb2 import ModelConfig
from crossrun_client import control
from crossrun_client.connection import Connection
from crossrun_client.control import Loaded
from crossrun_client.errors import ClientError, Lost
from crossrun_client.likeness import ABSOLUTE, Allowed, Likeness, compare, exact, reduced
from crossrun_client.questions import Asked, Questions, ask

Say = Callable[[str], None]

PROVIDERS, PRECISION = "providers", "precision"
_OURS = "crossrun."  # what the server writes into a configuration
_RETURN_S = 60.0  # how long a lost server may take to come back
_PAUSE_S = 0.5


@dataclass(frozen=True)
class Change:
    """What is to be another; empty for what stays."""

    providers: str = ""
    version: str = ""
    precision: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)  # of the configuration
    other_answers: bool = False  # whether they may be others, as those of a model trained anew

    def __bool__(self) -> bool:
        """Whether anything is to be another."""
        return bool(self.providers or self.version or self.precision or self.parameters)


@dataclass(frozen=True)
class Side:
    """A model before or after a change."""

    loaded: Loaded
    asked: Asked


@dataclass(frozen=True)
class Swapped:
    """What a change came to."""

    before: Side
    after: Side
    what: str  # was asked
    found: Likeness
    allowed: Allowed

    @property
    def alike(self) -> bool:
        """Whether the answers are those of before, as far as is allowed."""
        return self.allowed.holds(self.found)


def swap(
    connection: Connection, name: str, change: Change, questions: Questions, say: Say
) -> Swapped:
    """Change how a model is served; it serves on as before if that fails or answers otherwise.

    Args:
        connection: to the server.
        name: the model's.
        change: what is to be another.
        questions: are asked before and after.
        say: is told of each step.

    Raises:
        ClientError: it serves as before; or, if the text says so, nobody knows how it serves.
    """
    loaded = control.loaded(connection, name)
    say(f"asking {name} about {questions.what}")
    before = Side(loaded, ask(questions))
    try:
        say("loading it beside the one that serves")
        _load(connection, loaded, changed(loaded, change))
        after = _answering(connection, name, questions, say)
        swapped = _compared(before, after, questions.what)
        _check(swapped, change)
    except _Unchanged as error:
        raise ClientError(f"{name} serves as before: {error}") from error
    except BaseException as error:
        _restore(connection, loaded, error, say)
        raise ClientError(f"{name} serves as before again: {_why(error)}") from error
    return swapped


class _Unchanged(ClientError):  # noqa: N818 - named after what happened
    """The server has said that it did not do it."""


def _load(connection: Connection, before: Loaded, config: ModelConfig) -> None:
    try:
        control.load(connection, before.name, config)
    except Lost:
        raise
    except ClientError as error:
        if control.loaded(connection, before.name) == before:
            raise _Unchanged(str(error)) from error
        raise


def _answering(connection: Connection, name: str, questions: Questions, say: Say) -> Side:
    loaded = control.loaded(connection, name)
    say(f"asking it about {questions.what}")
    return Side(loaded, ask(questions))


def changed(loaded: Loaded, change: Change) -> ModelConfig:
    """Return the configuration of a model with a change.

    The versions are named in it, so that no newer one that lies on the disk comes in by the way.
    """
    config = ModelConfig()
    config.CopyFrom(loaded.config)
    for key in [key for key in config.parameters if key.startswith(_OURS)]:
        if key != "crossrun.kinds":  # without it kinds that the server filled in would be wishes
            del config.parameters[key]
    versions = (change.version,) if change.version else loaded.versions
    config.ClearField("version_policy")
    config.version_policy.specific.versions.extend(map(int, versions))
    if change.providers:
        _place(config, change.providers)
    if change.precision:
        config.parameters[PRECISION].string_value = change.precision
    for key, value in change.parameters.items():
        config.parameters[key].string_value = value
    return config


def _place(config: ModelConfig, providers: str) -> None:
    """Name the providers, without the options of those that are not named any more."""
    config.optimization.ClearField("execution_accelerators")
    named = {name.strip().lower() for name in providers.split(",")}
    for key in list(config.parameters):
        owner, dot, _ = key.partition(".")
        if dot and owner.lower() not in named and _is_providers(config, owner):
            del config.parameters[key]
    config.parameters[PROVIDERS].string_value = providers


def _is_providers(config: ModelConfig, owner: str) -> bool:
    before = control.parameter(config, PROVIDERS)
    return owner.lower() in {name.strip().lower() for name in before.split(",")}


def _compared(before: Side, after: Side, what: str) -> Swapped:
    largest = before.asked.largest
    placed = after.loaded.placed
    tolerance = placed.tolerance if placed else None
    if _is_reduced(before.loaded) or _is_reduced(after.loaded):
        allowed = reduced(largest, countable=before.asked.countable)
    else:
        allowed = exact(tolerance, largest)
    found = compare(before.asked.answers, after.asked.answers, tolerance or ABSOLUTE)
    return Swapped(before, after, what, found, allowed)


def _is_reduced(loaded: Loaded) -> bool:
    """Whether a model computes in less than fp32, as far as is known."""
    placed = loaded.placed
    asked = control.parameter(loaded.config, PRECISION)
    less = asked not in ("", "fp32") or " as asked" in (placed.computes_in if placed else "")
    return less or bool(placed and placed.precision not in ("", "fp32"))


def _check(swapped: Swapped, change: Change) -> None:
    placed = swapped.after.loaded.placed
    if placed and change.precision and placed.precision not in ("", change.precision):
        raise ClientError(f"expected {change.precision}, but its file is {placed.precision}")
    if not (swapped.alike or change.other_answers):
        raise ClientError(
            f"its answers to {swapped.what} are not those of before: {described(swapped)}"
        )


def described(swapped: Swapped) -> str:
    """Say how far answers are apart, and what is allowed."""
    found, allowed = swapped.found, swapped.allowed
    told = [f"largest difference {found.difference:.2g}"]
    if allowed.difference < float("inf"):
        told[0] += f" (allowed {allowed.difference:.2g}, {allowed.because})"
    if found.agreement is not None:
        told.append(f"{found.same} of {found.compared} the same")
        if allowed.difference == float("inf"):
            told[1] += f" (at least {allowed.agreement:.0%}: {allowed.because})"
    return ", ".join(told)


def _restore(connection: Connection, before: Loaded, error: BaseException, say: Say) -> None:
    """Load a model as it was; a load that is still under way comes first."""
    say(f"{_why(error)}; loading {before.name} as it was")
    end = time.monotonic() + _RETURN_S
    try:
        while True:
            try:
                return control.load(connection, before.name, changed(before, Change()))
            except Lost:
                if time.monotonic() > end:
                    raise
                time.sleep(_PAUSE_S)
    except BaseException as failed:
        raise ClientError(
            f"{_why(error)}; and {before.name} could not be loaded as it was: {_why(failed)}; "
            "nobody knows how it serves: see crossrun status"
        ) from failed


def _why(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    return str(error) or type(error).__name__
