"""Reads a model from a model repository: its newest version and its labels.

Opens model.onnx with onnxruntime on a single thread, so that no thread pool is left behind.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from crossrun_bench import distribution
from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError
from crossrun_bench.models import labels
from crossrun_bench.models.heads import BINARY, HEADS
from crossrun_bench.models.model import DETECTIONS, PRECISIONS, SCORE_THRESHOLD, Detector, Model
from crossrun_bench.providers import CPU

_SOURCE, _SCORES = "crossrun.source", "crossrun.scores"
_DETECTED = ("stretch", "letterbox")  # how pictures are resized for a detector
_TYPES = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32"}
T = TypeVar("T")


@dataclass(frozen=True)
class _Preprocessing:
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    color: str = "RGB"
    resize: str = "stretch"


@dataclass(frozen=True)
class _Thresholds:
    score_threshold: float
    iou_threshold: float


@dataclass(frozen=True)
class _Scores:
    head: str = "softmax"


@dataclass(frozen=True)
class _Calibration:
    sha256: tuple[str, ...] = ()


def read_labels(models: Path, name: str) -> tuple[str, ...]:
    """The lines of labels.txt; none if there is no such file."""
    file = _labels(models, name)
    return labels.read(file) if file.exists() else ()


def _labels(models: Path, name: str) -> Path:
    return models / name / "labels.txt"


def exported(models: Path) -> tuple[str, ...]:
    """The names of all models that name the Keras model they come from.

    Raises:
        BenchError: there is no such model.
    """
    named = [name for name in _names(models) if _versions(models, name)]
    sessions = {name: _session(_newest(models, name) / "model.onnx") for name in named}
    found = tuple(name for name, session in sessions.items() if _SOURCE in _metadata(session))
    if not found:
        raise BenchError(f"{models}: no model with '{_SOURCE}' in its metadata_props")
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
    metadata = _metadata(session)
    scaling = _scaling(metadata, onnx)
    calibration = _read(_Calibration, metadata, "crossrun.calibration", onnx, _Calibration())
    detector = _detector(session, scaling.resize, onnx)
    return Model(
        name=name,
        version=folder.name,
        onnx=str(onnx),
        keras=str(folder / "model.keras"),
        sha256=hashlib.sha256(onnx.read_bytes()).hexdigest(),
        source=_read(dict[str, str], metadata, _SOURCE, onnx),
        height=image.shape[1],
        width=image.shape[2],
        classes=_classes(models, name, None if detector else answer.shape[-1]),
        input_name=image.name,
        input_type=_TYPES[image.type],
        output_name=answer.name,
        scale=scaling.scale,
        offset=scaling.offset,
        precision=_precision(metadata, onnx),
        calibrated_on=calibration.sha256,
        detector=detector,
        color=scaling.color,
        head=_head(metadata, answer.shape[-1], onnx),
    )


def _classes(models: Path, name: str, scores: int | str | None) -> int:
    """The number of scores if the model fixes it, else the number of labels."""
    file, named = _labels(models, name), read_labels(models, name)
    if not isinstance(scores, int):
        return len(named)
    if file.exists():
        labels.check_count(file, named, scores)
    return scores


def _head(metadata: dict[str, str], scores: int, onnx: Path) -> str:
    """What the scores are; probabilities of all classes if the file does not say."""
    head = _read(_Scores, metadata, _SCORES, onnx, _Scores()).head
    if head not in HEADS:
        raise BenchError(f"{onnx}: unknown head '{head}': expected one of {', '.join(HEADS)}")
    if scores == 1 and head not in BINARY:
        raise BenchError(f"{onnx}: one score, and '{_SCORES}' does not say what it means")
    return head


def _scaling(metadata: dict[str, str], onnx: Path) -> _Preprocessing:
    """The scaling: one number for all channels, or a list of three."""
    key = "crossrun.preprocessing"
    try:
        found = json.loads(metadata[key])
        lists = {name: found[name] for name in ("scale", "offset")}
        lists = {name: x if isinstance(x, list) else [x] for name, x in lists.items()}
        scaling = decode(_Preprocessing, found | lists)
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(f"{onnx}: no readable '{key}' in its metadata_props") from error
    if {len(scaling.scale), len(scaling.offset)} - {1, 3} or scaling.color not in ("RGB", "BGR"):
        raise BenchError(f"{onnx}: '{key}' does not fit the three channels RGB or BGR")
    return scaling


def _detector(session: Any, resize: str, onnx: Path) -> Detector | None:
    """A detector's settings, or None for a classifier; a localizer is a classifier, too."""
    outputs = {output.name: output for output in session.get_outputs()}
    if next(iter(outputs)) not in DETECTIONS:
        return None
    if missing := DETECTIONS - outputs.keys():
        raise BenchError(f"{onnx}: expected the outputs {', '.join(sorted(missing))} as well")
    if resize not in _DETECTED:
        raise BenchError(f"{onnx}: unknown resize '{resize}': expected {' or '.join(_DETECTED)}")
    thresholds = _read(_Thresholds, _metadata(session), "crossrun.detection", onnx)
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


def _metadata(session: Any) -> dict[str, str]:
    found: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return found


def _precision(metadata: dict[str, str], onnx: Path) -> str:
    precision = _read(str, metadata, "crossrun.precision", onnx, "fp32")
    if precision not in PRECISIONS:
        expected = ", ".join(PRECISIONS)
        raise BenchError(f"{onnx}: unknown precision '{precision}': expected one of {expected}")
    return precision


def _read(
    kind: type[T], metadata: dict[str, str], key: str, onnx: Path, absent: T | None = None
) -> T:
    """The value of a key, which is JSON, or `absent` for a key that need not be there."""
    if key not in metadata and absent is not None:
        return absent
    try:
        return decode(kind, json.loads(metadata[key]))
    except (KeyError, ValueError) as error:
        raise BenchError(f"{onnx}: no readable '{key}' in its metadata_props") from error
