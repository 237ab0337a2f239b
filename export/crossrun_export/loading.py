"""Loads a model saved as .keras, and brings it to one input and one output.

Knows Keras; knows nothing of pictures, of pixels and of ONNX.
"""

import importlib.util
import json
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossrun_export import dtypes
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.options import Loading

CUSTOM = "crossrun_custom"  # the module's name, while it is run
# Losses that can be told to take logits, and what they make of them.
CATEGORICAL = re.compile(r"(Sparse)?Categorical(Focal)?Crossentropy")
BINARY = re.compile(r"Binary(Focal)?Crossentropy")


def load(path: Path, how: Loading) -> keras.Model:
    """Load a model.

    Args:
        path: the file.
        how: what is asked for besides.

    Returns:
        A model of one input and one output, computing in float32 or float16.

    Raises:
        ExportError: it cannot be loaded, has no such output, or computes in another precision.
    """
    if not path.is_file():
        raise ExportError(f"{path} is not a file; expected a model saved as .keras")
    custom = _defined(how.custom) if how.custom else {}
    try:
        model = keras.saving.load_model(path, custom, compile=False, safe_mode=not how.trust_lambda)
    except Exception as error:  # keras raises whatever its deserialization met
        raise ExportError(f"{path} {_why(error)}") from error
    single = _single(model, how.output, path)
    model = dtypes.in_float32(single) if how.float32 else single
    dtypes.of(model)
    return model


def loss_of_logits(path: Path) -> str:
    """The loss on logits that a model was trained with, as its file has it; empty without one."""
    try:
        with zipfile.ZipFile(path) as file:
            found = json.loads(file.read("config.json"))["compile_config"]["loss"]
        taken = bool(found["config"]["from_logits"])
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return ""  # never compiled, or with losses of another kind
    name = str(found["class_name"])
    return name if taken and (CATEGORICAL.fullmatch(name) or BINARY.fullmatch(name)) else ""


def _defined(file: Path) -> dict[str, Any]:
    """Run a Python file; returns what it defines by name."""
    spec = importlib.util.spec_from_file_location(CUSTOM, file)
    if spec is None or spec.loader is None:
        raise ExportError(f"--custom {file}: expected a Python file, .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[CUSTOM] = module  # Keras looks for a class in its module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # it is anybody's code
        raise ExportError(f"--custom {file}: {type(error).__name__}: {_line(error)}") from error
    return {name: found for name, found in vars(module).items() if callable(found)}


def _why(error: Exception) -> str:
    """Why a file could not be loaded, and what can be done."""
    text = str(error)
    if unknown := re.search(r"Could not locate (class|function) '([\w>]+)'", text):
        return (
            f"needs layers of its own: the {unknown[1]} {unknown[2]} is no part of Keras; "
            "--custom FILE.py, which defines it, lets it be loaded"
        )
    if "`Lambda` layer" in text or "safe_mode=False" in text:
        return (
            "holds a Lambda layer, which is code that loading would run; if you trust the file, "
            "--trust-lambda runs it"
        )
    return f"cannot be loaded: {_line(error)}"


def _single(model: keras.Model, wanted: str | None, path: Path) -> keras.Model:
    """The model from its one input to the one output that is wanted."""
    try:
        inputs, _ = model.inputs, model.outputs
    except AttributeError as error:  # of a class of its own, or never told its input
        raise ExportError(
            f"{path} does not tell its input and its output: a {type(model).__name__} that is no "
            "graph of layers; save keras.Model(image, model(image)) instead, where "
            "image = keras.Input((height, width, 3))"
        ) from error
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise ExportError(f"{path} has {len(inputs)} inputs, {names}; expected one, of pictures")
    outputs = _outputs(model)
    if wanted is None and len(outputs) > 1:
        raise ExportError(
            f"{path} has several outputs; --scores-output says which has the scores: "
            + " or ".join(f"{name} {tuple(value.shape)}" for name, value in outputs.items())
        )
    if wanted is not None and wanted not in outputs:
        raise ExportError(f"{path} has no output {wanted!r}; it has {', '.join(outputs)}")
    chosen = outputs[wanted] if wanted is not None else next(iter(outputs.values()))
    if len(chosen.shape) == 4 and tuple(chosen.shape[1:3]) == (1, 1):  # of a convolution
        chosen = keras.layers.Flatten()(chosen)
    elif isinstance(model, keras.Sequential) or _is_plain(model.input, model.output):
        return model
    return keras.Model(inputs[0], chosen, name=model.name)


def _outputs(model: keras.Model) -> Mapping[str, keras.KerasTensor]:
    """The outputs by their keys, where they are a dictionary, or by their layers' names."""
    if isinstance(model, keras.Sequential):
        return {model.layers[-1].name: model.outputs[0]}
    given = model.output
    if isinstance(given, dict) and _is_plain(*given.values()):
        return given
    return dict(zip(model.output_names, model.outputs, strict=True))


def _is_plain(*values: Any) -> bool:
    """Whether values are tensors, and no lists or dictionaries of them."""
    return all(isinstance(value, keras.KerasTensor) for value in values)


def _line(error: Exception) -> str:
    """The last line of an error that says something: keras puts the cause at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
