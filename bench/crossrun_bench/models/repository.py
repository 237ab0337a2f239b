"""Reads a model from a model repository: its newest version and its labels.

Opens model.onnx with onnxruntime on a single thread, so that no thread pool is left behind.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.models import labels, layouts, metadata
from crossrun_bench.models.metadata import SOURCE, Metadata
from crossrun_bench.models.model import DETECTIONS, SCORE_THRESHOLD, Detector, Model
from crossrun_bench.models.original import KERAS, Layout, Original
from crossrun_bench.providers import CPU

_DETECTED = ("stretch", "crop", "letterbox")  # how pictures are resized for a detector
_TYPES = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}
# A Keras detector as other runtimes have it: Keras's export calls its two outputs so.
_KERAS_DETECTOR = Layout(layouts.KERAS, {"boxes": "output_0", "scores": "output_1"})


def read_labels(models: Path, name: str) -> tuple[str, ...]:
    """The lines of labels.txt; none if there is no such file."""
    file = _labels(models, name)
    return labels.read(file) if file.exists() else ()


def _labels(models: Path, name: str) -> Path:
    return models / name / "labels.txt"


def exported(models: Path) -> tuple[str, ...]:
    """The names of all models that name the model they come from.

    Raises:
        BenchError: there is no such model.
    """
    named = [name for name in _names(models) if _versions(models, name)]
    sessions = {name: _session(_newest(models, name) / "model.onnx") for name in named}
    found = tuple(name for name, session in sessions.items() if SOURCE in _said(session))
    if not found:
        raise BenchError(f"{models}: no model with '{SOURCE}' in its metadata_props")
    return found


def read_model(models: Path, name: str) -> Model:
    """Describe the newest version of `name`.

    Raises:
        BenchError: the folder holds no such model, or the bench cannot use it.
    """
    folder = _newest(models, name)
    onnx = folder / "model.onnx"
    session = _session(onnx)
    (image, *other), (answer, *_) = session.get_inputs(), session.get_outputs()
    if other or len(image.shape) != 4 or image.shape[3] != 3 or image.type not in _TYPES:
        raise BenchError(f"{onnx}: expected one input [batch, H, W, 3] of UINT8 or FP32")
    if not all(isinstance(side, int) for side in image.shape[1:3]):
        raise BenchError(f"{onnx}: expected pictures of one size, and it leaves {image.shape} free")
    said = _said(session)
    scaling = metadata.scaling(said, onnx)
    detector = _detector(session, scaling.resize, onnx)
    return Model(
        name=name,
        version=folder.name,
        onnx=str(onnx),
        original=_original(said, onnx, detects=detector is not None),
        sha256=hashlib.sha256(onnx.read_bytes()).hexdigest(),
        source=metadata.made_from(said, onnx),
        height=image.shape[1],
        width=image.shape[2],
        classes=_classes(models, name, None if detector else answer.shape[-1]),
        input_name=image.name,
        input_type=_TYPES[image.type],
        output_name=answer.name,
        scale=scaling.scale,
        offset=scaling.offset,
        precision=metadata.precision(said, onnx),
        calibrated_on=metadata.calibrated_on(said, onnx),
        detector=detector,
        color=scaling.color,
        head=metadata.head(said, answer.shape[-1], onnx),
        single=image.shape[0] == 1,
    )


def _original(said: Metadata, onnx: Path, *, detects: bool) -> Original:
    """The original, in the folder of the file."""
    found = metadata.original(said, onnx)
    if detects and found.runtime == KERAS:
        found = replace(found, layout=_KERAS_DETECTOR)
    if detects and not found.layout:
        raise BenchError(f"{onnx}: '{SOURCE}' does not say how its original's outputs are read")
    return replace(found, file=str(onnx.parent / found.file))


def _classes(models: Path, name: str, scores: int | str | None) -> int:
    """The number of scores if the model fixes it, else the number of labels."""
    file, named = _labels(models, name), read_labels(models, name)
    if not isinstance(scores, int):
        return len(named)
    if file.exists():
        labels.check_count(file, named, scores)
    return scores


def _detector(session: Any, resize: str, onnx: Path) -> Detector | None:
    """A detector's settings, or None for a classifier; a localizer is a classifier, too."""
    outputs = {output.name: output for output in session.get_outputs()}
    if next(iter(outputs)) not in DETECTIONS:
        return None
    if missing := DETECTIONS - outputs.keys():
        raise BenchError(f"{onnx}: expected the outputs {', '.join(sorted(missing))} as well")
    if resize not in _DETECTED:
        raise BenchError(
            f"{onnx}: unknown resize '{resize}': expected one of {', '.join(_DETECTED)}"
        )
    thresholds = metadata.thresholds(_said(session), onnx)
    return Detector(
        resize=resize,
        score_threshold=thresholds.score_threshold,
        iou_threshold=thresholds.iou_threshold,
        max_detections=outputs["detection_boxes"].shape[1],
        optional=SCORE_THRESHOLD in {i.name for i in session.get_overridable_initializers()},
    )


def _newest(models: Path, name: str) -> Path:
    names, versions = _names(models), _versions(models, name)
    if not versions:
        raise BenchError(f"{models}: no model '{name}'; it holds {', '.join(names) or 'none'}")
    return max(versions, key=lambda folder: int(folder.name))


def _names(models: Path) -> list[str]:
    if not models.is_dir():
        raise BenchError(f"{models}: no such folder; expected a model repository")
    return sorted(d.name for d in models.iterdir() if d.is_dir())


def _versions(models: Path, name: str) -> list[Path]:
    folders = (models / name).glob("*")
    return [d for d in folders if d.name.isdigit() and (d / "model.onnx").exists()]


def _session(onnx: Path) -> Any:
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(onnx, options, providers=[CPU.name])
    except Exception as error:  # onnxruntime's errors share no base class but this
        raise BenchError(f"{onnx}: no readable ONNX model") from error


def _onnxruntime() -> Any:
    """The package; BenchError that names the extra where it is missing."""
    try:
        import onnxruntime  # noqa: PLC0415 - only what needs it waits for it
    except ModuleNotFoundError as error:
        raise BenchError(distribution.missing("onnxruntime", "cpu")) from error
    return onnxruntime


def _said(session: Any) -> Metadata:
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return found
