"""Loads one model from its files: finds the wanted versions, and loads all of them or none.

The files are a folder, or bytes that a client sent instead; a client may also send a configuration
instead of config.pbtxt. Knows no other models, and nothing of requests.
"""

import logging
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError, PollError, ServingError
from crossrun_server.model_config import config
from crossrun_server.model_config.session_config import SessionConfig
from crossrun_server.models import layout, version_loader
from crossrun_server.models.model import Model
from crossrun_server.models.prepared import Version
from crossrun_server.models.upkeep import idle_memory
from crossrun_server.models.version_loader import ServerContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSource:
    """What one model is loaded from."""

    folder: Path  # its name is the model's
    config: str | None = None  # a ModelConfig as JSON, used instead of config.pbtxt
    files: Mapping[str, bytes] | None = None  # by path in the folder, used instead of it

    @property
    def name(self) -> str:
        """The model's name."""
        return self.folder.name


@dataclass(frozen=True)
class LoadedVersions:
    """The versions of one model that are loaded together."""

    models: Mapping[int, Model] = field(default_factory=dict)
    stamp: layout.Stamp = field(default_factory=layout.Stamp)


def load(
    source: ModelSource,
    context: ServerContext,
    previous: LoadedVersions | None = None,
    announce: Callable[[list[int]], None] = lambda _: None,
) -> LoadedVersions:
    """Load and warm up the versions that the model's version policy asks for: all or none.

    Args:
        source: the model's files.
        context: what the server gives to each model.
        previous: what is loaded now; versions whose files have not changed are kept.
        announce: is told which versions are about to be loaded.

    Raises:
        PollError: there is no such folder, or the files that were sent cannot be used.
        LoadError: a version cannot be loaded; the message names the model and the reason.
    """
    failed = f"failed to load {source.name!r}"
    try:
        with _opened(source) as folder:
            declared = _declared(source)
            stamp = _stamp(folder, declared)
            files = _wanted(folder, declared)
            announce(list(files))
            kept = _unchanged(previous or LoadedVersions(), stamp)
            loaded = LoadedVersions(_load_versions(folder, files, declared, context, kept), stamp)
            idle_memory.trim()  # of what loading needed
            return loaded
    except PollError as error:
        text = f"{failed}, failed to poll from model repository: {error}"
        raise PollError(text) from error
    except (ServingError, UnicodeError, OSError) as error:
        raise LoadError(f"{failed}: {error}") from error


@contextmanager
def newest(source: ModelSource, context: ServerContext) -> Iterator[tuple[Version, SessionConfig]]:
    """Yield the newest version that the version policy asks for, to measure it.

    Raises:
        LoadError: there is none, or its configuration is malformed.
    """
    with _opened(source) as folder:
        declared = _declared(source)
        *_, file = _wanted(folder, declared).values()
        yield version_loader.asked(folder, file, declared, context)


@contextmanager
def _opened(source: ModelSource) -> Iterator[Path]:
    """Yield the model's folder; files that came as bytes lie in a temporary one."""
    if source.files is None:
        if not layout.has_model(source.folder.parent, source.name):
            raise PollError(f"there is no folder {source.folder}")
        layout.require_inside(source.folder)
        yield source.folder
        return
    if source.config is None:
        raise PollError("files were given without 'config', which has to describe them")
    with tempfile.TemporaryDirectory(prefix="crossrun-") as temporary:
        folder = Path(temporary) / source.name
        for name, data in source.files.items():
            _write(folder, name, data)
        yield folder


def _write(folder: Path, name: str, data: bytes) -> None:
    try:
        path = layout.inside(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except LoadError as error:
        raise PollError(f"file: {error}") from error
    except OSError as error:
        raise PollError(f"file {name!r}: {error.strerror}") from error


def _declared(source: ModelSource) -> pb.ModelConfig | None:
    if source.config is None:
        return config.read(source.folder)
    return config.from_json(source.config, source.name)


def _home(folder: Path, declared: pb.ModelConfig | None) -> Path:
    """Find the folder of the versions: the model's, or that of a precision beside it."""
    precision = config.precision(declared)
    if not precision:
        return folder
    beside = folder.with_name(f"{folder.name}-{precision}")
    if not layout.has_model(beside.parent, beside.name):
        raise LoadError(f"parameters 'precision' is {precision!r}, but there is no {beside.name}")
    layout.require_inside(beside)
    return beside


def _stamp(folder: Path, declared: pb.ModelConfig | None) -> layout.Stamp:
    home = _home(folder, declared)
    return replace(layout.stamp(folder), versions=layout.stamp(home).versions)


def _versions(folder: Path, declared: pb.ModelConfig | None) -> dict[int, Path]:
    """Find the file of each version, oldest first."""
    name = (declared.default_model_filename if declared else "") or "model.onnx"
    files = {v: layout.inside(path, name) for v, path in layout.versions(folder).items()}
    found = {version: file for version, file in files.items() if file.is_file()}
    if not found:
        raise LoadError(f"{folder.name} has no version; expected {folder.name}/1/{name}")
    return found


def _wanted(folder: Path, declared: pb.ModelConfig | None) -> dict[int, Path]:
    """Find the file of each version that the version policy asks for."""
    home = _home(folder, declared)
    found = _versions(home, declared)
    policy = declared.version_policy if declared else pb.ModelVersionPolicy()
    if policy.HasField("all"):
        return found
    if policy.HasField("specific"):
        wanted = sorted(set(policy.specific.versions))
        if not wanted:
            raise LoadError("version_policy.specific names no version")
        if missing := set(wanted) - set(found):
            names = ", ".join(map(str, sorted(missing)))
            raise LoadError(f"{home.name} has no version {names}")
    else:
        wanted = list(found)[-(policy.latest.num_versions or 1) :]
    return {version: found[version] for version in wanted}


def _unchanged(previous: LoadedVersions, stamp: layout.Stamp) -> dict[int, Model]:
    if previous.stamp.shared != stamp.shared:
        return {}
    before = previous.stamp.versions
    same = {v for v, traces in stamp.versions.items() if before.get(v) == traces}
    return {version: model for version, model in previous.models.items() if version in same}


def _load_versions(
    folder: Path,
    files: Mapping[int, Path],
    declared: pb.ModelConfig | None,
    context: ServerContext,
    kept: Mapping[int, Model],
) -> dict[int, Model]:
    built: dict[int, Model] = {}
    try:
        for version, file in files.items():
            if version not in kept:
                built[version] = version_loader.load_version(
                    folder, version, file, declared, context
                )
    except BaseException as error:
        for model in built.values():
            model.close()
        built.clear()
        _release_frames(error)
        raise
    return {version: built.get(version) or kept[version] for version in files}


def _release_frames(error: BaseException | None) -> None:
    """Release the sessions that the frames of a failure hold, with their memory and threads."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
