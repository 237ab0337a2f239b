"""The models by name: loads, replaces, unloads, lists and finds them.

A model is replaced by one assignment once its successor is warm. Requests that have the old model
finish on it. Knows nothing of requests, and not why a model is loaded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crossrun_server.errors import ModelUnavailable, TooMany, UnknownModel
from crossrun_server.models import layout, loader
from crossrun_server.models.loader import LoadedVersions, ModelSource
from crossrun_server.models.model import Model
from crossrun_server.models.states import UNKNOWN, ModelEntry, Retired
from crossrun_server.models.version_loader import ServerContext

log = logging.getLogger(__name__)

LOADS = 4  # at once, as Triton; others wait
MOST_CHANGES = 64  # loads, unloads and releases that are under way or wait
MOST_KNOWN = 10_000  # names in the index

Listener = Callable[[str, bool], None]
Agree = Callable[[], Awaitable[None]]
Then = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class IndexEntry:
    """An entry of the index; version and state are empty for a model that was never loaded."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


class Repository:
    """The models of one folder, and those that were sent over the wire."""

    def __init__(
        self, root: Path, context: ServerContext, listener: Listener = lambda _name, _ready: None
    ) -> None:
        """Store where models are and who listens.

        Args:
            root: the folder of the models' folders.
            context: what each model gets.
            listener: is told a model's name and whether it is ready, at every change.
        """
        self.root = root
        self.draining = False
        self._context = context
        self._listener = listener
        self._entries: dict[str, ModelEntry] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(LOADS)

    def __iter__(self) -> Iterator[Model]:
        return (m for entry in self._entries.values() for m in entry.loaded.models.values())

    def get(self, name: str, version: str = "") -> Model:
        """Find a model that takes requests; without a version, the newest that is loaded.

        Raises:
            UnknownModel: no such name or version.
            ModelUnavailable: it is not loaded, its runs fail, or the server is draining.
        """
        model = self.find(name, version)
        if self.draining:
            raise ModelUnavailable(f"{name!r} takes no more requests: the server is draining")
        if why := model.failing.reason:
            at = f"{name!r} version {model.version}"
            raise ModelUnavailable(f"{UNKNOWN} {at} is not at ready state: {why}")
        return model

    def find(self, name: str, version: str = "") -> Model:
        """Find a loaded model as `get` does, even while it takes no requests."""
        if name in self._entries:
            return self._entries[name].find(version)
        if layout.has_model(self.root, name):
            raise ModelUnavailable(f"{UNKNOWN} {name!r} has no available versions: not loaded")
        raise UnknownModel(f"{UNKNOWN} {name!r} is not found")

    def versions(self, name: str) -> list[str]:
        """Name the loaded versions of a model, oldest first."""
        return [str(version) for version in sorted(self._entries[name].loaded.models)]

    def select(self, name: str = "", version: str = "") -> list[Model]:
        """Find the loaded versions of one model or of all, or one version of it or of all.

        Raises:
            UnknownModel, ModelUnavailable: a name or version was given and is not loaded.
        """
        if not name:
            return [model for model in self if version in ("", model.version)]
        if version:
            return [self.find(name, version)]
        return [self.find(name, version) for version in self.versions(self.find(name).name)]

    def each(self, version: str = "") -> list[Model]:
        """Return every model that is loaded, in its newest version; or those with that version."""
        loaded = [entry for entry in list(self._entries.values()) if entry.is_loaded]
        found = []
        for entry in loaded:
            with suppress(UnknownModel, ModelUnavailable):
                found.append(entry.find(version))
        return found

    def count_without(self, name: str) -> int:
        """Count the models that are loaded, but for the named one."""
        return sum(entry.is_loaded for entry in self._entries.values() if entry.name != name)

    def index(self) -> list[IndexEntry]:
        """List every version that was ever loaded or tried, and every model on disk."""
        names = {*layout.models(self.root), *self._entries}
        return [line for name in sorted(names) for line in self._indexed(name)]

    def status(self, name: str) -> list[IndexEntry]:
        """List the versions of one model as the index does, oldest first.

        Raises:
            UnknownModel: no such name.
        """
        if name not in self._entries and not layout.has_model(self.root, name):
            raise UnknownModel(f"{UNKNOWN} {name!r} is not found")
        return list(self._indexed(name))

    def expect(self, names: Iterable[str]) -> None:
        """Tell the listener about models that are known but not ready."""
        for name in names:
            self._listener(name, False)

    async def load(
        self,
        source: ModelSource,
        *,
        keep_unchanged: bool = False,
        agree: Agree | None = None,
        then: Then | None = None,
    ) -> None:
        """Load a model beside the one that serves, then let it take over.

        The load goes on if the caller leaves.

        Args:
            source: what to load it from.
            keep_unchanged: keep versions whose files have not changed since they were loaded.
            agree: is awaited once the model is warm; if it raises, the model does not take over.
            then: is awaited once it has taken over, before the next change of the model.

        Raises:
            LoadError: it cannot be loaded; what was loaded before still serves.
            TooMany: too many changes are under way, or too many models known.
        """
        if source.name not in self._entries and len(self._entries) >= MOST_KNOWN:
            raise TooMany(f"failed to load {source.name!r}: {MOST_KNOWN} models are known already")
        await self._to_its_end(self._load(source, keep_unchanged, agree, then))

    async def unload(self, name: str, then: Then | None = None) -> None:
        """Stop new requests to a model, and release it once those it has are answered.

        Args:
            name: the model's.
            then: is awaited once it takes no requests, before the next change of the model.

        Raises:
            UnknownModel: no such name.
            TooMany: too many changes are under way.
        """
        if name in self._entries:
            await self._to_its_end(self._unload(self._entries[name], then))
        elif not layout.has_model(self.root, name):
            raise UnknownModel(f"{UNKNOWN} {name!r} is not found")

    async def drained(self) -> None:
        """Wait until every request is answered, of models that were replaced, too."""
        retiring = asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(retiring, *(model.drain() for model in self))

    async def close(self) -> None:
        """Finish the loads and unloads in progress, then release every model."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for model in self:
            model.close()

    def _indexed(self, name: str) -> Iterator[IndexEntry]:
        statuses = list(self._entries.get(name, ()))
        for version, status in statuses:
            yield IndexEntry(name, str(version or ""), status.state, status.reason)
        if not statuses:
            yield IndexEntry(name)

    def _entry(self, source: ModelSource) -> ModelEntry:
        """Find or make the entry of a model; it is only kept if there are files for it."""
        entry = self._entries.get(source.name) or ModelEntry(source.name)
        if source.files is not None or layout.has_model(self.root, source.name):
            self._entries[source.name] = entry
        return entry

    async def _load(
        self, source: ModelSource, keep_unchanged: bool, agree: Agree | None, then: Then | None
    ) -> None:
        entry = self._entry(source)
        async with entry.changing:
            previous = entry.loaded if keep_unchanged else None
            try:
                loaded = await self._on_a_thread(source, previous, entry)
                if agree is not None:
                    await _agreed(agree, loaded, previous or LoadedVersions())
            except Exception as error:
                entry.failed(str(error))
                self._tell(entry)
                raise
            self._switch(entry, loaded)
            if then is not None:
                await then()

    async def _on_a_thread(
        self, source: ModelSource, previous: LoadedVersions | None, entry: ModelEntry
    ) -> LoadedVersions:
        loop = asyncio.get_running_loop()

        def announce(versions: list[int]) -> None:
            loop.call_soon_threadsafe(entry.loading, versions)

        async with self._room:
            return await asyncio.to_thread(loader.load, source, self._context, previous, announce)

    async def _unload(self, entry: ModelEntry, then: Then | None) -> None:
        async with entry.changing:
            self._switch(entry, LoadedVersions())
            if then is not None:
                await then()

    def _switch(self, entry: ModelEntry, loaded: LoadedVersions) -> None:
        retired = entry.switch(loaded)
        loop = asyncio.get_running_loop()
        for model in loaded.models.values():
            model.failing.tell(partial(_soon, loop, partial(self._changed, entry, model)))
        self._tell(entry)
        for one in retired:
            self._spawn(_retire(entry, one))

    def _changed(self, entry: ModelEntry, model: Model) -> None:
        """Hear that the runs of a model fail, or do not any more."""
        at = f"{model.name} version {model.version}"
        if why := model.failing.reason:
            log.error("%s takes no requests: %s", at, why)
        else:
            log.info("%s takes requests again", at)
        self._tell(entry)

    def _tell(self, entry: ModelEntry) -> None:
        if self._entries.get(entry.name) is entry:
            self._listener(entry.name, entry.ready)

    async def _to_its_end(self, change: Coroutine[None, None, None]) -> None:
        if len(self._tasks) >= MOST_CHANGES:
            change.close()
            raise TooMany(f"{MOST_CHANGES} models are being loaded or unloaded, which is the most")
        await asyncio.shield(self._spawn(change))

    def _spawn(self, change: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(call)


async def _agreed(agree: Agree, loaded: LoadedVersions, previous: LoadedVersions) -> None:
    """Ask whether a model may take over, and release it if not."""
    try:
        await agree()
    except BaseException:
        for version, model in loaded.models.items():
            if previous.models.get(version) is not model:
                model.close()
        raise


async def _retire(entry: ModelEntry, retired: Retired) -> None:
    """Release a version once its last request is answered."""
    await retired.model.drain()
    retired.model.close()
    entry.released(retired.version, retired.status)
