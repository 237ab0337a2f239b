"""Puts a version into a model repository: written aside, then renamed, so that nobody sees half.

Knows Triton's layout; knows nothing of how the files come about.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from crossrun_export.errors import ExportError

CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: 32
input [ {{ name: "{input}" data_type: {datatype} dims: [ {height}, {width}, 3 ] }} ]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {classes} ]{label_filename} }} ]
dynamic_batching {{ }}
"""
LABELS = "labels.txt"
MODEL = "model.onnx"


@contextmanager
def staging(repository: Path, name: str) -> Iterator[Path]:
    """Give a folder to write a version's files in; it is gone afterwards, whatever happens.

    Raises:
        ExportError: the repository or the files cannot be written, or `name` is no folder name.
    """
    if not name or name.startswith(".") or Path(name).name != name:
        raise ExportError(f"{name!r} is no name for a model; expected that of a folder")
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


def publish(
    version_files: Path, repository: Path, name: str, config: str, labels: tuple[str, ...]
) -> Path:
    """Make a folder of files the next version of a model.

    A model that is there already keeps its config.pbtxt, which may have been tuned since;
    the new version has to have the same labels and the same inputs and outputs.

    Args:
        version_files: a folder inside the repository; it is moved.
        repository: the model repository.
        name: of the model.
        config: text of config.pbtxt.
        labels: one per class, or none.

    Returns:
        The folder of the new version.

    Raises:
        ExportError: the model there is another one.
    """
    model = repository / name
    text = "".join(f"{label}\n" for label in labels)
    if model.exists():
        _check_same(model, text, version_files / MODEL)
        return version_files.rename(model / str(_newest(model) + 1))
    whole = Path(tempfile.mkdtemp(prefix=".model-", dir=version_files.parent))
    try:
        whole.chmod(0o755)  # mkdtemp makes it private
        (whole / "config.pbtxt").write_text(config, encoding="utf-8")
        if labels:
            (whole / LABELS).write_text(text, encoding="utf-8")
        version_files.rename(whole / "1")
        whole.rename(model)
    except OSError:
        shutil.rmtree(whole, ignore_errors=True)
        raise
    return model / "1"


def _check_same(model: Path, labels: str, new: Path) -> None:
    file = model / LABELS
    there = file.read_text(encoding="utf-8") if file.exists() else ""
    if there != labels:
        raise ExportError(f"{model} is a model with other labels; choose another --name")
    newest = model / str(_newest(model)) / MODEL
    if newest.exists() and _signature(newest) != _signature(new):
        raise ExportError(f"{model} has other inputs or outputs; choose another --name")


def _signature(file: Path) -> list[onnx.ValueInfoProto]:
    graph = onnx.load(file, load_external_data=False).graph
    return [*graph.input, *graph.output]


def _newest(model: Path) -> int:
    return max((int(f.name) for f in model.iterdir() if f.name.isdecimal()), default=0)
