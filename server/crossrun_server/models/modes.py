"""When models are loaded: at the start, when the disk changes, or when a client asks.

The three modes are Triton's. Knows no gRPC.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

from crossrun_server.errors import (
    ControlRefused,
    Forbidden,
    InvalidRequest,
    LoadError,
    ModelUnavailable,
    ServingError,
    TooMany,
    UnknownModel,
)
from crossrun_server.models import layout
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.repository import Agree, Repository, Then
from crossrun_server.models.state_file import LastWord, StateFile

log = logging.getLogger(__name__)

ALL = "*"


class Mode(StrEnum):
    """Triton's model control modes."""

    NONE = "none"  # all models that exist at the start
    POLL = "poll"  # all models, and their changes on disk
    EXPLICIT = "explicit"  # the models that clients ask for


@dataclass(frozen=True)
class LoadPolicy:
    """Which models are loaded, and when."""

    mode: Mode = Mode.NONE
    at_start: tuple[str, ...] = ()  # names, or only "*"; with Mode.EXPLICIT only
    poll_seconds: int = 15
    exit_on_error: bool = True
    most: int = 128  # models that are loaded, if clients ask for another
    kept: Mapping[str, LastWord] = field(default_factory=dict)  # by model, from earlier starts
    uploads: bool = False  # whether clients may send the files of a model
    among: frozenset[str] | None = None  # load only these of them at the start; None: all


def with_state(policy: LoadPolicy, file: Path | None) -> tuple[LoadPolicy, StateFile | None]:
    """Add what clients have asked for before an earlier end, if that is kept in a file.

    Raises:
        ServingError: the file is damaged, or the mode has nothing to keep.
    """
    if file is None:
        return policy, None
    if policy.mode != Mode.EXPLICIT:
        raise ServingError("--state-file needs --model-control-mode explicit")
    state = StateFile(file)
    return replace(policy, kept=dict(state.models)), state


class Control:
    """Loads and unloads the models of a repository, as the mode says."""

    def __init__(
        self,
        repository: Repository,
        policy: LoadPolicy,
        agree: Agree | None = None,
        state: StateFile | None = None,
    ) -> None:
        """Store what is controlled and how.

        Args:
            repository: has the models.
            policy: which are loaded, and when.
            agree: decides on loads that clients ask for.
            state: keeps what clients ask for; None: nobody does, or somebody else.
        """
        self.repository = repository
        self._policy = policy
        self._agree = agree
        self._state = state
        self._seen: dict[str, layout.Stamp] = {}

    async def start(self) -> None:
        """Load the models that must be there from the start.

        Raises:
            ServingError: the options contradict each other.
            LoadError: there is no repository, or a model cannot be loaded and the policy says to
                exit then.
        """
        root = self.repository.root
        found = layout.models(root)
        if not found and self._policy.mode == Mode.NONE:
            raise LoadError(f"{root} holds no model; expected NAME/1/model.onnx")
        self.repository.expect(found)
        self._seen = self._look(found)
        among, kept = self._policy.among, self._policy.kept
        for name in dict.fromkeys((*self._wanted(found), *kept)):
            if among is not None and name not in among:
                continue
            if name not in kept:
                await self._load(name, fatal=self._policy.exit_on_error)
            elif kept[name].loaded:
                await self._restore(name, kept[name].config)

    async def watch(self) -> None:
        """Follow changes on disk until cancelled; return at once in modes that do not."""
        while self._policy.mode == Mode.POLL:
            await asyncio.sleep(self._policy.poll_seconds)
            try:
                await self._poll()
            except Exception:  # such as a folder that vanishes meanwhile; the next poll tells
                log.exception("failed to poll model repository %s", self.repository.root)

    async def load(
        self, name: str, config: str | None = None, files: dict[str, bytes] | None = None
    ) -> None:
        """Load a model because a client asked; see ModelSource for the arguments.

        Raises:
            ControlRefused: the mode does not allow it.
            Forbidden: it brings files, which clients may not send.
            InvalidRequest: the name cannot be a model's.
            ModelUnavailable: the server is draining.
            TooMany: as many are loaded as may be, or too many loads are under way.
            LoadError: it cannot be loaded.
        """
        self._allow(name)
        if files is not None and not self._policy.uploads:
            raise Forbidden(
                f"failed to load {name!r}: it comes with files, which needs --allow-model-upload: "
                "a model is trusted input"
            )
        if self.repository.count_without(name) >= self._policy.most:
            raise TooMany(
                f"failed to load {name!r}: {self._policy.most} models are loaded; "
                "unload one, or start the server with a larger --max-models"
            )
        try:
            source = self._source(name, config, files)
            await self.repository.load(source, agree=self._agree, then=self._keeping_load(source))
        except LoadError as error:
            log.error("%s", error)
            raise

    async def unload(self, name: str) -> None:
        """Unload a model because a client asked.

        Raises:
            ControlRefused: the mode does not allow it.
            ModelUnavailable: the server is draining.
            UnknownModel: there is no such model.
        """
        self._allow(name)
        await self.repository.unload(name, then=self._keeping_unload(name))
        log.info("unloaded %s", name)

    def _keeping_load(self, source: ModelSource) -> Then | None:
        if (state := self._state) is None:
            return None
        sent = source.files is not None
        return partial(asyncio.to_thread, state.loaded, source.name, source.config, sent=sent)

    def _keeping_unload(self, name: str) -> Then | None:
        return partial(asyncio.to_thread, self._state.unloaded, name) if self._state else None

    def _allow(self, name: str) -> None:
        if self._policy.mode != Mode.EXPLICIT:
            raise ControlRefused(
                "explicit model load / unload is not allowed if polling is enabled, and needs "
                f"--model-control-mode explicit (it is {self._policy.mode})"
            )
        if self.repository.draining:
            raise ModelUnavailable(f"{name!r} stays as it is: the server is draining")

    def _source(
        self, name: str, config: str | None = None, files: dict[str, bytes] | None = None
    ) -> ModelSource:
        if not layout.is_model_name(name):
            raise InvalidRequest(f"failed to load {name!r}: that cannot be a model's name")
        return ModelSource(self.repository.root / name, config, files)

    def _wanted(self, found: list[str]) -> list[str]:
        names = list(dict.fromkeys(self._policy.at_start))
        if self._policy.mode != Mode.EXPLICIT:
            if names:
                raise ServingError("--load-model needs --model-control-mode explicit")
            return found
        if ALL in names and len(names) > 1:
            raise ServingError("--load-model '*' stands for every model, expected no other name")
        return found if ALL in names else names

    def _look(self, names: Iterable[str]) -> dict[str, layout.Stamp]:
        return {name: layout.stamp(self.repository.root / name) for name in names}

    async def _poll(self) -> None:
        before = self._seen
        found = await asyncio.to_thread(layout.models, self.repository.root)
        self._seen = await asyncio.to_thread(self._look, found)
        for name in before.keys() - self._seen.keys():
            with suppress(UnknownModel):  # gone before it could be loaded
                await self.repository.unload(name)
            log.info("unloaded %s: its folder is gone", name)
        for name, stamp in self._seen.items():
            if before.get(name) != stamp:
                await self._load(name)

    async def _restore(self, name: str, config: str | None) -> None:
        """Load what a client had loaded before an earlier end."""
        try:
            await self.repository.load(self._source(name, config))
        except Exception as error:
            text = "a client had loaded %s, which cannot be loaded any more: %s"
            log.warning(text, name, error, exc_info=not isinstance(error, ServingError))

    async def _load(self, name: str, *, fatal: bool = False) -> None:
        try:
            await self.repository.load(self._source(name), keep_unchanged=True)
        except Exception as error:
            if fatal:
                raise
            log.error("%s", error, exc_info=not isinstance(error, ServingError))
