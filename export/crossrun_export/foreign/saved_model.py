"""A TensorFlow SavedModel as a source: one of its signatures, run by TensorFlow itself.

tf2onnx converts the signature as it is.
"""

import hashlib
import shutil
import textwrap
from pathlib import Path
from typing import Any

import onnx

from crossrun_export import freeze, memory, simplify
from crossrun_export.backend import tensorflow as tf
from crossrun_export.backend import tf2onnx
from crossrun_export.convert import MOST_WORDS, OPSET
from crossrun_export.errors import ExportError
from crossrun_export.foreign import signatures
from crossrun_export.foreign.source import ForeignSource

FOLDER = "saved_model"  # beside the exported file
FILE = "saved_model.pb"


def load(folder: Path, signature: str | None) -> ForeignSource:
    """Load a SavedModel.

    Args:
        folder: that of saved_model.pb.
        signature: which of several; None takes the one that takes a picture.

    Raises:
        ExportError: it is no SavedModel that this TensorFlow can load, no signature fits, several
            do, or tf2onnx cannot convert it.
    """
    loaded = _loaded(folder)
    try:
        name = signatures.chosen(loaded.signatures, signature)
    except ExportError as error:
        raise ExportError(f"{folder}: {error}") from error
    function = loaded.signatures[name]
    picture = signatures.picture(function)
    assert picture is not None
    return ForeignSource(
        name=folder.resolve().name,
        runtime="tensorflow",
        graph=_converted(function, folder),
        picture=picture,
        outputs=signatures.outputs(function),
        # What holds the variables has to live as long as the function.
        ask=lambda inputs, _=loaded: signatures.answer(function, inputs),  # type: ignore[misc]
        labels=(),
        sha256=_sha256(folder),
        save=lambda place: _copy(folder, place / FOLDER),
        file=FOLDER,
        signature=name,
    )


def _loaded(folder: Path) -> Any:
    if not (folder / FILE).is_file():
        raise ExportError(f"{folder} is no SavedModel; expected a folder with {FILE}")
    try:
        return tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises many kinds
        raise ExportError(f"TensorFlow cannot load {folder}: {_shortened(error)}") from error


def _converted(function: Any, folder: Path) -> onnx.ModelProto:
    """The signature as ONNX, its input and its outputs under their names."""
    ((name, spec),) = function.structured_input_signature[1].items()
    taken = [tf.TensorSpec(spec.shape, spec.dtype, name)]

    @tf.function(input_signature=taken)  # type: ignore[untyped-decorator]
    def answer(picture: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(function(**{name: picture}))

    memory.check(str(folder), memory.needed(sum(map(_bytes, _files(folder))), 0))
    try:
        with freeze.lean(), simplify.in_place():
            converted = tf2onnx.convert.from_function(answer, taken, opset=OPSET)
        model: onnx.ModelProto = converted[0]
        _check_operations(model)
        onnx.checker.check_model(model)
    except Exception as error:  # tf2onnx raises many kinds
        raise ExportError(f"tf2onnx cannot convert {folder}: {_shortened(error)}") from error
    return model


def _check_operations(model: onnx.ModelProto) -> None:
    """Refuse TensorFlow's own operations: tf2onnx leaves in what it cannot convert."""
    kinds = {n.op_type for n in model.graph.node if not onnx.defs.has(n.op_type, n.domain)}
    if kinds:
        raise ExportError(f"ONNX has nothing for TensorFlow's {', '.join(sorted(kinds))}")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _bytes(file: Path) -> int:
    return file.stat().st_size


def _sha256(folder: Path) -> str:
    """Hash the names and the contents of all files."""
    digest = hashlib.sha256()
    for file in _files(folder):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{content}  {file.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def _copy(folder: Path, place: Path) -> None:
    """Copy what was loaded, and nothing of its permissions: it may be read-only."""
    for file in _files(folder):
        copy = place / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _shortened(error: Exception) -> str:
    return textwrap.shorten(str(error), MOST_WORDS)
