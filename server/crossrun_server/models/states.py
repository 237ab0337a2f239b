"""The state of one model in the repository: the versions that serve, and the state of each.

Loads nothing. Changes on the event loop only. A request that has found a model keeps it.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from crossrun_server.errors import ModelUnavailable, UnknownModel
from crossrun_server.models.loader import LoadedVersions
from crossrun_server.models.model import Model

UNLOADED = "unloaded"  # Triton's reason for a version that has been unloaded
UNKNOWN = "Request for unknown model:"
NO_VERSION = 0  # stands for the whole model if no version of it was found


class State(StrEnum):
    """The state of a version, as Triton's index spells it."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, eq=False)  # compared by identity
class Status:
    """The state of one version, and why."""

    state: State
    reason: str = ""


@dataclass(frozen=True)
class Retired:
    """A version that takes no new requests and may still be answering old ones."""

    version: int
    model: Model
    status: Status


class ModelEntry:
    """One model; the versions that serve are replaced all at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loaded = LoadedVersions()
        self.changing = asyncio.Lock()  # held during a load or an unload
        self._statuses: dict[int, Status] = {}

    def __iter__(self) -> Iterator[tuple[int, Status]]:
        return ((v, self._now(v, status)) for v, status in sorted(self._statuses.items()))

    @property
    def is_loaded(self) -> bool:
        """Whether a version of it is loaded."""
        return bool(self.loaded.models)

    @property
    def ready(self) -> bool:
        """Whether a request that names no version is taken."""
        return self.is_loaded and not self.find("").failing.reason

    def find(self, version: str) -> Model:
        """Find a version; without one, the newest that serves.

        Raises:
            UnknownModel: there is no such version.
            ModelUnavailable: the version, or every version, is known but not loaded.
        """
        models = self.loaded.models
        if not version:
            if not models:
                raise ModelUnavailable(
                    f"{UNKNOWN} {self.name!r} has no available versions: {self._why()}"
                )
            return models[max(models)]
        number = _number(version)
        if number in models:
            return models[number]
        if number in self._statuses:
            raise ModelUnavailable(
                f"{UNKNOWN} {self.name!r} version {number} is not at ready state: "
                f"{_told(self._statuses[number])}"
            )
        raise UnknownModel(
            f"{UNKNOWN} {self.name!r} version {version!r} is not found; "
            f"loaded: {', '.join(map(str, sorted(models))) or 'none'}"
        )

    def loading(self, versions: list[int]) -> None:
        """Note which versions are being loaded; those that serve stay READY."""
        self._statuses.pop(NO_VERSION, None)
        for version in versions:
            if version not in self.loaded.models:
                self._statuses[version] = Status(State.LOADING)

    def failed(self, reason: str) -> None:
        """Note why a load failed; versions that serve still do."""
        loading = [v for v, status in self if status.state == State.LOADING]
        for version in loading or list(self._statuses) or [NO_VERSION]:
            ready = version in self.loaded.models
            state = State.READY if ready else State.UNAVAILABLE
            self._statuses[version] = Status(state, reason)

    def switch(self, loaded: LoadedVersions) -> list[Retired]:
        """Let these versions serve from now on, and return those that no longer do."""
        before, self.loaded = self.loaded, loaded
        gone = {v: m for v, m in before.models.items() if loaded.models.get(v) is not m}
        unloading = {version: Status(State.UNLOADING) for version in gone}
        served = {v: status for v, status in self if _has_served(status)}
        self._statuses = served | unloading | {v: Status(State.READY) for v in loaded.models}
        return [Retired(version, model, unloading[version]) for version, model in gone.items()]

    def released(self, version: int, unloading: Status) -> None:
        """Note that a version is gone, unless another with its number has been loaded meanwhile."""
        if self._statuses.get(version) is unloading:
            self._statuses[version] = Status(State.UNAVAILABLE, UNLOADED)

    def _now(self, version: int, status: Status) -> Status:
        """Return the status of a version, which is another while its runs fail."""
        model = self.loaded.models.get(version)
        failing = model.failing.reason if model else ""
        return Status(State.UNAVAILABLE, failing) if failing else status

    def _why(self) -> str:
        return "; ".join(dict.fromkeys(_told(status) for _, status in self)) or "not loaded"


def _has_served(status: Status) -> bool:
    return status.state == State.UNLOADING or status.reason == UNLOADED


def _told(status: Status) -> str:
    return status.reason or status.state


def _number(version: str) -> int:
    if version.isascii() and version.isdecimal() and len(version) < 20 and int(version) > 0:
        return int(version)
    raise UnknownModel(
        f"{UNKNOWN} failed to get model version from specified version string {version!r}, "
        "expected a whole number over 0"
    )
