"""One model from its files: reads, completes, loads, warms up, proves the versions wanted.

The files are a folder, or bytes given in its place; a configuration may be given in place of
config.pbtxt. Knows no other models and nothing of requests.
"""

import ctypes
import logging
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from crossrun.oip import model_config_pb2 as pb
from crossrun_server import (
    config,
    cores,
    independence,
    labels,
    lanes,
    layout,
    placement,
    probabilities,
    proving,
)
from crossrun_server.cache import Cache, ModelCache
from crossrun_server.errors import LoadError, PollError, ServingError
from crossrun_server.lanes import Opened
from crossrun_server.model import Instruments, Model
from crossrun_server.providers import Request
from crossrun_server.record import Observer
from crossrun_server.scheduler import Scheduler, Tensors
from crossrun_server.statistics import Statistics
from crossrun_server.tuning import Tuned
from crossrun_server.warmup import noting, warm_up

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What one model is loaded from."""

    folder: Path  # its name is the model's
    config: str | None = None  # a ModelConfig as JSON, used in place of config.pbtxt
    files: Mapping[str, bytes] | None = None  # by path in the folder, used in its place

    @property
    def name(self) -> str:
        """The model's name."""
        return self.folder.name


@dataclass(frozen=True)
class Shared:
    """What the models of a server have in common."""

    default: Request  # the execution providers of models that name none
    cache: Cache | None = None  # of the answers of models that ask for it
    observers: tuple[Observer, ...] = ()  # are told of each request once it is over
    cores: int = 0  # threads of sessions that ask for no number; 0: one for each core
    proof_tolerance: float | None = None  # of models that name none; None: the proof's own


@dataclass(frozen=True)
class Loaded:
    """The versions of one model that are loaded together."""

    models: Mapping[int, Model] = field(default_factory=dict)
    stamp: layout.Stamp = field(default_factory=layout.Stamp)


def load(
    source: Source,
    shared: Shared,
    previous: Loaded | None = None,
    announce: Callable[[list[int]], None] = lambda _: None,
) -> Loaded:
    """Load and warm up the versions that the model's version policy asks for: all or none.

    Args:
        source: the model's files.
        shared: what it has in common with other models.
        previous: versions of it whose files have not changed since are taken over.
        announce: is told which versions are about to be loaded.

    Raises:
        PollError: there is no such folder, or what was given in its place cannot be used.
        LoadError: a version cannot be loaded; the message names the model and the reason.
    """
    failed = f"failed to load {source.name!r}"
    try:
        with _opened(source) as folder:
            stamp = layout.stamp(folder)
            declared = _declared(source)
            files = _wanted(declared, _versions(folder, declared), folder)
            announce(list(files))
            kept = _unchanged(previous or Loaded(), stamp)
            loaded = Loaded(_load_versions(folder, files, declared, shared, kept), stamp)
            _give_back()
            return loaded
    except PollError as error:
        text = f"{failed}, failed to poll from model repository: {error}"
        raise PollError(text) from error
    except (ServingError, UnicodeError, OSError) as error:
        raise LoadError(f"{failed}: {error}") from error


def measure(source: Source, shared: Shared) -> Tuned:
    """Measure the lanes of the newest version that the version policy asks for.

    Raises:
        LoadError: it cannot be loaded, or does not run on the CPU.
    """
    with _opened(source) as folder:
        declared = _declared(source)
        *_, file = _wanted(declared, _versions(folder, declared), folder).values()
        placed = placement.place(declared or pb.ModelConfig(), shared.default)
        if not placed.plan:
            raise LoadError(f"{source.name}: config.pbtxt gives instances or threads, not a plan")
        return lanes.measure(file, placed, cores.available(), _completing(declared, folder, file))


@contextmanager
def _opened(source: Source) -> Iterator[Path]:
    """Give the model's folder; files that were given as bytes lie in one until they are loaded."""
    if source.files is None:
        if not layout.has_model(source.folder.parent, source.name):
            raise PollError(f"there is no folder {source.folder}")
        yield source.folder
        return
    if source.config is None:
        raise PollError("files were given without 'config', which has to describe them")
    with tempfile.TemporaryDirectory(prefix="crossrun-") as room:
        folder = Path(room) / source.name
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


def _declared(source: Source) -> pb.ModelConfig | None:
    if source.config is None:
        return config.read(source.folder)
    return config.from_json(source.config, source.name)


def _versions(folder: Path, declared: pb.ModelConfig | None) -> dict[int, Path]:
    """Find the file of each version, oldest first."""
    name = (declared.default_model_filename if declared else "") or "model.onnx"
    files = {v: layout.inside(path, name) for v, path in layout.versions(folder).items()}
    found = {version: file for version, file in files.items() if file.is_file()}
    if not found:
        raise LoadError(f"{folder.name} has no version; expected {folder.name}/1/{name}")
    return found


def _wanted(
    declared: pb.ModelConfig | None, found: dict[int, Path], folder: Path
) -> dict[int, Path]:
    policy = declared.version_policy if declared else pb.ModelVersionPolicy()
    if policy.HasField("all"):
        return found
    if policy.HasField("specific"):
        wanted = sorted(set(policy.specific.versions))
        if not wanted:
            raise LoadError("version_policy.specific names no version")
        if missing := set(wanted) - set(found):
            names = ", ".join(map(str, sorted(missing)))
            raise LoadError(f"{folder.name} has no version {names}")
    else:
        wanted = list(found)[-(policy.latest.num_versions or 1) :]
    return {version: found[version] for version in wanted}


def _unchanged(previous: Loaded, stamp: layout.Stamp) -> dict[int, Model]:
    if previous.stamp.shared != stamp.shared:
        return {}
    before = previous.stamp.versions
    same = {v for v, traces in stamp.versions.items() if before.get(v) == traces}
    return {version: model for version, model in previous.models.items() if version in same}


def _load_versions(
    folder: Path,
    files: Mapping[int, Path],
    declared: pb.ModelConfig | None,
    shared: Shared,
    kept: Mapping[int, Model],
) -> dict[int, Model]:
    built: dict[int, Model] = {}
    try:
        for version, file in files.items():
            if version not in kept:
                built[version] = _load_version(folder, version, file, declared, shared)
    except BaseException as error:
        for model in built.values():
            model.close()
        built.clear()
        _let_go(error)
        raise
    return {version: built.get(version) or kept[version] for version in files}


def _give_back() -> None:
    """Let the system have again what loading needed and running does not; glibc keeps it else."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _let_go(error: BaseException | None) -> None:
    """Release what the frames of a failure hold: sessions, and these hold memory and threads."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _load_version(
    folder: Path, version: int, file: Path, declared: pb.ModelConfig | None, shared: Shared
) -> Model:
    started = time.perf_counter()
    try:
        placed = placement.place(declared or pb.ModelConfig(), shared.default)
        there = shared.cores or cores.available()
        opened = lanes.open_lanes(file, placed, there, _completing(declared, folder, file))
        metadata = opened.sessions[0].metadata
        served = _settled(opened.served, metadata)
        named, answers = labels.read(folder, served), Tensors()
        labels.warn_of_others(named, folder.name, metadata)
        probabilities.check(served.scores, served.outputs, named)
        for lane in opened.lanes:
            warm_up(noting(lane.run, answers), served, folder, opened.sizes)
        labels.check_answers(named, served, answers)
        served = _doubted(served, answers)
        told = proving.prove(file, opened, shared.proof_tolerance)
    except LoadError as error:
        raise LoadError(f"version {version}: {error}") from error
    pairs = zip(opened.sessions, told, strict=True)
    assignments = tuple(replace(session.assignment, evidence=one) for session, one in pairs)
    placement.write(served.proto, assignments, opened.plan)
    title = f"{folder.name} version {version}"
    _tell(title, opened, time.perf_counter() - started)
    log.info("%s: %s", title, served.proto.parameters[placement.PROVEN].string_value)
    instruments = Instruments(Statistics(), _part_of(shared.cache, served), shared.observers)
    policy = served.policy
    if opened.plan and policy.merges_freely:
        policy = replace(policy, merge_rows=opened.plan.batch)
    scheduler = Scheduler(opened.lanes, policy, instruments.statistics.executed, opened.cores)
    return Model(str(version), served, named, metadata, scheduler, assignments, instruments)


def _completing(declared: pb.ModelConfig | None, folder: Path, file: Path) -> lanes.Complete:
    return partial(independence.complete, declared, folder, file)


def _settled(served: config.ServedConfig, metadata: Mapping[str, str]) -> config.ServedConfig:
    """With what the file itself says of its scores."""
    return replace(served, scores=probabilities.settle(served.scores, metadata))


def _doubted(served: config.ServedConfig, answers: Tensors) -> config.ServedConfig:
    """With what answers at load say against scores of which nobody says what they are."""
    doubts = probabilities.doubts(served.outputs, answers)
    return replace(served, scores=replace(served.scores, doubts=doubts))


def _part_of(cache: Cache | None, served: config.ServedConfig) -> ModelCache | None:
    if not served.proto.response_cache.enable:
        return None
    if cache is None:
        text = "%s: response_cache in config.pbtxt has no effect without --cache-config"
        log.warning(text, served.proto.name)
        return None
    return ModelCache(cache)


def _tell(title: str, opened: Opened, seconds: float) -> None:
    assignments = [session.assignment for session in opened.sessions]
    for reason in {why: None for one in assignments for why in one.skipped.values()}:
        log.warning("%s was asked to run on %s: %s", title, assignments[0].requested, reason)
    if opened.sizes:
        log.info("%s runs batches of %s", title, ", ".join(map(str, opened.sizes)))
    if opened.plan:
        log.info("loaded %s on %s, plan %s, in %.2f s", title, assignments[0], opened.plan, seconds)
        return
    for assignment in assignments:
        log.info("loaded %s on %s in %.2f s", title, assignment, seconds)
