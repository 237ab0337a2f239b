"""Puts a version into a model repository: written aside, then renamed, so that nobody sees half.

Knows Triton's layout; knows nothing of how the files come about.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from crossrun_export import label_file
from crossrun_export.errors import ExportError

LABELS = "labels.txt"
MODEL = "model.onnx"


@contextmanager
def staging(repository: Path, name: str) -> Iterator[Path]:
    """Return a folder to write a version's files in; it is gone afterwards, whatever happens.

    Raises:
        ExportError: the repository or the files cannot be written, or `name` is no folder name.
    """
    is_text = name.isprintable() and not {'"', "\\"}.intersection(name)  # in config.pbtxt
    if not name or name.startswith(".") or Path(name).name != name or not is_text:
        raise ExportError(
            f"{name!r} is no name for a model; expected that of a folder, without quotes (--name)"
        )
    try:
        repository.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".export-", dir=repository))
    except OSError as error:
        raise ExportError(f"cannot write to {repository}: {error.strerror}") from error
    try:
        yield folder
    except OSError as error:
        raise ExportError(f"cannot write to {repository}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Draft:
    """A version of a model, ready to be put in its place."""

    name: str  # of the model
    files: Path  # a folder inside the repository; it is moved
    config: str  # text of config.pbtxt
    labels: tuple[str, ...]  # one per class, or none

    @property
    def labels_text(self) -> str:
        """What labels.txt holds."""
        return label_file.joined(self.labels)


def publish(drafts: Sequence[Draft], repository: Path) -> list[Path]:
    """Make each draft the next version of its model: all of them, or none.

    A model that is there already keeps its config.pbtxt, which may have been tuned since;
    the new version has to have the same labels, the same inputs and outputs, and to take pixels
    that clients scale in the same way.

    Returns:
        The folders of the new versions.

    Raises:
        ExportError: a model there is another one.
    """
    for draft in drafts:
        if (repository / draft.name).exists():
            _check_same(repository / draft.name, draft)
    versions: list[Path] = []
    new_models = [draft.name for draft in drafts if not (repository / draft.name).exists()]
    try:
        for draft in drafts:
            versions.append(_put(draft, repository / draft.name))
    except OSError:
        for version in versions:
            is_new = version.parent.name in new_models
            shutil.rmtree(version.parent if is_new else version, ignore_errors=True)
        raise
    return versions


def _put(draft: Draft, model: Path) -> Path:
    """Move a draft to its place; returns the version's folder."""
    if model.exists():
        return draft.files.rename(model / str(_newest(model) + 1))
    whole = Path(tempfile.mkdtemp(prefix=".model-", dir=draft.files.parent))
    whole.chmod(0o755)  # mkdtemp makes it private
    (whole / "config.pbtxt").write_text(draft.config, encoding="utf-8")
    if draft.labels:
        (whole / LABELS).write_text(draft.labels_text, encoding="utf-8")
    draft.files.rename(whole / "1")
    return whole.rename(model) / "1"


def _check_same(model: Path, draft: Draft) -> None:
    file = model / LABELS
    there = label_file.read(file) if file.exists() else ()
    if there != draft.labels:
        raise ExportError(f"{model} is a model with other labels; choose another --name")
    newest = model / str(_newest(model)) / MODEL
    if not newest.exists():
        return
    old, new = (onnx.load(f, load_external_data=False) for f in (newest, draft.files / MODEL))
    if _signature(old) != _signature(new):
        raise ExportError(f"{model} has other inputs or outputs; choose another --name")
    before, after = _scaling_of_floats(old), _scaling_of_floats(new)
    if before and after and before != after:
        raise ExportError(
            f"{model} takes pixels that are scaled in another way, as its clients do; "
            "choose another --name"
        )


def _signature(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*model.graph.input, *model.graph.output]


def _scaling_of_floats(model: onnx.ModelProto) -> list[Any]:
    """How clients have to scale pixels; empty where the graph does it, or nothing tells."""
    kinds = {value.type.tensor_type.elem_type for value in model.graph.input}
    texts = [p.value for p in model.metadata_props if p.key == "crossrun.preprocessing"]
    if onnx.TensorProto.UINT8 in kinds or not texts:
        return []
    said = json.loads(texts[0])
    return [said.get("scale"), said.get("offset"), said.get("color", "RGB")]


def _newest(model: Path) -> int:
    return max((int(f.name) for f in model.iterdir() if f.name.isdecimal()), default=0)
