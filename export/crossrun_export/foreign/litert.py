"""LiteRT files, formerly TensorFlow Lite: tf2onnx converts them, LiteRT itself is asked.

Of a quantized model, inputs and outputs are real numbers here: what it takes is brought to its
whole numbers, and what it returns away from them, by the graph and by `ask` alike.
"""

import hashlib
import shutil
import textwrap
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import distribution, label_file
from crossrun_export.backend import muted, tf2onnx
from crossrun_export.convert import MOST_WORDS, OPSET, check_operations
from crossrun_export.errors import ExportError
from crossrun_export.foreign import picture_input, postprocess, steps
from crossrun_export.foreign.said import Said
from crossrun_export.foreign.source import ForeignSource, Output
from crossrun_export.foreign.steps import Steps
from crossrun_export.runtime import Outputs
from crossrun_export.scaling import CHOICES, Preprocessing, Scaling

FILE = "model.tflite"  # beside the exported model
HALF_A_STEP = 0.51  # by which a range is moved so that zero is a whole number
# What models are trained on, lowest and highest.
RANGES = {"0..255": (0.0, 255.0), "0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0)}

Details = dict[str, Any]  # what the interpreter says of a tensor


def load(path: Path) -> ForeignSource:
    """Read a LiteRT file.

    Returns:
        A source of real numbers, whose labels are those packed into the file, if there are any.

    Raises:
        ExportError: it is no such file, takes no pictures, or cannot be converted.
    """
    interpreter = _interpreter(path)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    picture = picture_input.find({it["name"]: (_shape(it), _dtype(it)) for it in inputs}, path)
    graph, said = _converted(path, inputs[0], outputs)
    names = [it["name"] for it in outputs]
    if len(set(names)) < len(names):
        raise ExportError(f"{path} has several outputs of one name: {', '.join(names)}")
    return ForeignSource(
        name=path.stem,
        runtime="litert",
        graph=graph,
        picture=picture,
        outputs=tuple(_output(it) for it in outputs),
        ask=_asking(interpreter, inputs[0], outputs),
        labels=_packed_labels(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        save=lambda folder: _copy(path, folder),
        file=FILE,
        pixels=_told(_steps(inputs[0])),
        said=said,
        computes="int8" if _is_quantized(interpreter) else "float32",
    )


def _interpreter(path: Path) -> Any:
    """A runtime that has the model, ready to run."""
    if not path.is_file():
        raise ExportError(f"{path} is not a file; expected a LiteRT model, .tflite")
    try:
        with muted():  # it tells of its kernels
            interpreter = _kind()(model_path=str(path))
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        why = textwrap.shorten(str(error), MOST_WORDS)
        raise ExportError(f"{path} is no model that LiteRT runs: {why}") from error
    return interpreter


def _kind() -> Any:
    """LiteRT's interpreter, or the one that TensorFlow brings.

    Raises:
        ExportError: there is neither.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError:
        from crossrun_export.backend import tensorflow  # noqa: PLC0415

        found = getattr(tensorflow.lite, "Interpreter", None)
        if found is None:
            raise ExportError(distribution.missing("ai_edge_litert", "litert")) from None
        return found
    return Interpreter


def _shape(tensor: Details) -> tuple[int, ...]:
    """The shape, where the file says so of any size; signatures of some operations are empty."""
    said, now = tensor["shape_signature"], tensor["shape"]
    return tuple(int(size) for size in (said if len(said) == len(now) else now))


def _dtype(tensor: Details) -> np.dtype[Any]:
    """That of what the tensor stands for."""
    return np.dtype(np.float32 if _steps(tensor) else tensor["dtype"])


def _steps(tensor: Details) -> Steps | None:
    size, zero = tensor["quantization"]
    return Steps(float(size), int(zero), np.dtype(tensor["dtype"])) if size else None


def _output(tensor: Details) -> Output:
    return Output(tensor["name"], _dtype(tensor), _shape(tensor))


def _is_quantized(interpreter: Any) -> bool:
    """Whether any tensor is of whole numbers that stand for real ones, in eight bits."""
    return any(
        len(tensor["quantization_parameters"]["scales"]) and tensor["dtype"] in (np.int8, np.uint8)
        for tensor in interpreter.get_tensor_details()
    )


def _asking(
    interpreter: Any, image: Details, outputs: list[Details]
) -> Callable[[NDArray[Any]], Outputs]:
    """Ask the interpreter, in real numbers."""
    taken, returned = _steps(image), {it["index"]: _steps(it) for it in outputs}

    def ask(inputs: NDArray[Any]) -> Outputs:
        if interpreter.get_input_details()[0]["shape"][0] != len(inputs):
            interpreter.resize_tensor_input(image["index"], inputs.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], taken.numbers(inputs) if taken else inputs)
        interpreter.invoke()
        found = {it["name"]: (interpreter.get_tensor(it["index"]), it) for it in outputs}
        return {
            name: known.real(array) if (known := returned[it["index"]]) else array
            for name, (array, it) in found.items()
        }

    return ask


def _converted(path: Path, image: Details, outputs: list[Details]) -> tuple[onnx.ModelProto, Said]:
    """The same model as ONNX, of real numbers, and what it says of its outputs."""
    try:
        # It asks TensorFlow's own interpreter, which warns of its end.
        with muted(), warnings.catch_warnings(action="ignore"):
            model, _ = tf2onnx.convert.from_tflite(
                str(path),
                opset=OPSET,
                custom_op_handlers={postprocess.NAME: (postprocess.keep, [])},
                extra_opset=postprocess.KEPT,
            )
        said = postprocess.said(model)
        model = postprocess.expand(model)
        check_operations(model)
    except Exception as error:  # tf2onnx raises many kinds
        why = textwrap.shorten(str(error), MOST_WORDS)
        raise ExportError(f"tf2onnx cannot convert {path}: {why}") from error
    steps.unshare(model)
    if known := _steps(image):
        steps.take_reals(model, image["name"], known)
    for tensor in outputs:
        if known := _steps(tensor):
            steps.return_reals(model, tensor["name"], known)
    onnx.checker.check_model(model, full_check=True)
    return model, said


def _told(taken: Steps | None) -> Preprocessing | None:
    """What a quantized input says of the pixels that it takes.

    Whole numbers from 0 to 255 are the pixels themselves. Others stand for a range of real
    numbers, which tells something if it is one of those that models are trained on.
    """
    if taken is None:
        return None
    if taken.dtype == np.uint8:
        return Preprocessing(_as_they_come(taken), "its input is uint8")
    for name, ends in RANGES.items():
        if np.allclose(taken.ends, ends, rtol=0, atol=HALF_A_STEP * taken.size):
            return Preprocessing(CHOICES[name], f"its int8 input stands for {name}")
    return None


def _as_they_come(taken: Steps) -> Scaling:
    """The scaling after which pixels are the whole numbers that a uint8 input takes."""
    size, offset = taken.size, -taken.zero * taken.size
    for name, ends in RANGES.items():
        if np.allclose(taken.ends, ends, rtol=0, atol=1e-3 * size):
            return CHOICES[name]
    return Scaling(f"scale={size!r},offset={offset!r}", (size,) * 3, (offset,) * 3)


def _packed_labels(path: Path) -> tuple[str, ...]:
    """The labels in the archive that LiteRT's metadata appends to a file, if there is one list."""
    if not zipfile.is_zipfile(path):
        return ()
    with zipfile.ZipFile(path) as archive:
        texts = [name for name in archive.namelist() if name.endswith(".txt")]
        return label_file.parse(archive.read(texts[0]), path) if len(texts) == 1 else ()


def _copy(path: Path, folder: Path) -> None:
    shutil.copyfile(path, folder / FILE)
