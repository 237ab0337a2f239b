"""The models on disk and those in memory: finds versions, loads them, hands them out by name.

Knows Triton's layout, NAME/config.pbtxt and NAME/VERSION/model.onnx, and nothing of requests.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from crossrun.oip import model_config_pb2 as pb
from crossrun_server import config
from crossrun_server import placement as placements
from crossrun_server.errors import LoadError, ModelUnavailable, ServingError, UnknownModel
from crossrun_server.model import Model
from crossrun_server.providers import Request
from crossrun_server.scheduler import Scheduler
from crossrun_server.session import Assignment, Session
from crossrun_server.tensors import DTYPES, Array, TensorSpec

log = logging.getLogger(__name__)


class Repository:
    """The loaded models, each name with its versions."""

    def __init__(self, models: list[Model]) -> None:
        self._models: dict[str, dict[int, Model]] = {}
        for model in models:
            self._models.setdefault(model.name, {})[int(model.version)] = model
        self.draining = False

    def __iter__(self) -> Iterator[Model]:
        return (model for versions in self._models.values() for model in versions.values())

    def get(self, name: str, version: str = "") -> Model:
        """Find a model; without a version the newest loaded.

        Raises:
            UnknownModel: no such name or version.
            ModelUnavailable: the server is draining.
        """
        model = self.find(name, version)
        if self.draining:
            raise ModelUnavailable(f"{name!r} takes no more requests: the server is draining")
        return model

    def find(self, name: str, version: str = "") -> Model:
        """Find a model as `get` does, whether it takes requests or not."""
        versions = self._models.get(name)
        if versions is None:
            raise UnknownModel(f"Request for unknown model: {name!r} is not found")
        if not version:
            return versions[max(versions)]
        if not version.isdecimal() or int(version) not in versions:
            raise UnknownModel(
                f"Request for unknown model: {name!r} version {version!r} is not found; "
                f"loaded: {', '.join(map(str, sorted(versions)))}"
            )
        return versions[int(version)]

    def versions(self, name: str) -> list[str]:
        """Name the loaded versions of a model, oldest first."""
        return [str(version) for version in sorted(self._models[name])]

    def select(self, name: str = "", version: str = "") -> list[Model]:
        """Find every loaded version of every model, or of one, or one version of it.

        Raises:
            UnknownModel: a name or version was given and is not loaded.
        """
        if not name:
            return list(self)
        if version:
            return [self.find(name, version)]
        return [self.find(name, version) for version in self.versions(self.find(name).name)]

    def only(self) -> str:
        """Name the one model there is.

        Raises:
            UnknownModel: there are several.
        """
        if len(self._models) > 1:
            raise UnknownModel(
                f"the request names no model and there are several: {', '.join(self._models)}"
            )
        return next(iter(self._models))

    def close(self) -> None:
        """Release every model."""
        for model in self:
            model.close()


def load(root: Path, default: Request) -> Repository:
    """Load and warm up the versions that each model's version policy asks for.

    Raises:
        LoadError: there is no model, or one of them cannot be loaded.
    """
    if not root.is_dir():
        raise LoadError(f"{root} is not a folder; expected a model repository")
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    if not folders:
        raise LoadError(f"{root} holds no model; expected NAME/1/model.onnx")
    return Repository([model for folder in folders for model in _load_model(folder, default)])


def _load_model(folder: Path, default: Request) -> list[Model]:
    try:
        declared = config.read(folder)
        filename = (declared.default_model_filename if declared else "") or "model.onnx"
        return [
            _load_version(folder / str(version) / filename, declared, default)
            for version in _wanted(declared, _versions(folder, filename), folder)
        ]
    except ServingError as error:
        raise LoadError(f"failed to load {folder.name!r}: {error}") from error


def _versions(folder: Path, filename: str) -> list[int]:
    found = [f for f in folder.iterdir() if f.name.isdecimal() and int(f.name) > 0]
    versions = sorted(int(f.name) for f in found if (f / filename).is_file())
    if not versions:
        raise LoadError(f"{folder} has no version; expected {folder.name}/1/{filename}")
    return versions


def _wanted(declared: pb.ModelConfig | None, found: list[int], folder: Path) -> list[int]:
    policy = declared.version_policy if declared else pb.ModelVersionPolicy()
    if policy.HasField("all"):
        return found
    if policy.HasField("specific"):
        wanted = sorted(policy.specific.versions)
        if missing := set(wanted) - set(found):
            raise LoadError(f"{folder} has no version {', '.join(map(str, sorted(missing)))}")
        return wanted
    return found[-(policy.latest.num_versions or 1) :]


def _load_version(file: Path, declared: pb.ModelConfig | None, default: Request) -> Model:
    folder, version = file.parent.parent, file.parent.name
    started = time.perf_counter()
    placement = placements.place(declared or pb.ModelConfig(), default)
    sessions = [Session(file, request, placement.threads) for request in placement.requests]
    served = config.complete(declared, folder.name, sessions[0].inputs, sessions[0].outputs)
    assignments = tuple(session.assignment for session in sessions)
    placements.write(served.proto, assignments)
    for session in sessions:
        _warm_up(session, folder.name)
    _tell(f"{folder.name} version {version}", assignments, time.perf_counter() - started)
    scheduler = Scheduler([session.run for session in sessions], served.policy)
    labels = _labels(folder, served)
    return Model(version, served, labels, sessions[0].metadata, scheduler, assignments)


def _tell(title: str, assignments: Sequence[Assignment], seconds: float) -> None:
    for reason in {why: None for one in assignments for why in one.skipped.values()}:
        log.warning("%s was asked to run on %s: %s", title, assignments[0].requested, reason)
    for assignment in assignments:
        log.info("loaded %s on %s in %.2f s", title, assignment, seconds)


def _labels(folder: Path, served: config.ServedConfig) -> dict[str, tuple[str, ...]]:
    files = {o.name: folder / o.label_filename for o in served.proto.output if o.label_filename}
    for path in files.values():
        if not path.is_file():
            raise LoadError(f"{path} is missing; config.pbtxt names it as label_filename")
    return {
        name: tuple(path.read_text(encoding="utf-8").splitlines()) for name, path in files.items()
    }


def _warm_up(session: Session, name: str) -> None:
    """Run once on zeros, so that the first caller does not pay for what is done only once."""
    inputs = {spec.name: _zeros(spec) for spec in session.inputs}
    try:
        session.run(inputs, [spec.name for spec in session.outputs])
    except Exception as error:  # noqa: BLE001 - a model may well refuse zeros; callers send better
        log.warning("%s: the warm-up on zeros failed: %s", name, error)


def _zeros(spec: TensorSpec) -> Array:
    shape = [1 if size == -1 else size for size in spec.shape]
    return np.full(shape, "" if spec.datatype == "BYTES" else 0, DTYPES[spec.datatype])
