"""The whole export, in order: convert, verify, describe, publish. Verify, or write nothing."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from crossrun_export import convert, publish, verify
from crossrun_export.backend import keras, tensorflow, tf2onnx
from crossrun_export.options import Options
from crossrun_export.sources import Source


@dataclass(frozen=True)
class Exported:
    """What was written."""

    version: Path
    parity: verify.Parity


def export(source: Source, options: Options) -> Exported:
    """Export a classifier into a model repository as its next version.

    Raises:
        ExportError: it cannot be converted or written, or is not equal to the original.
    """
    pixels, names = verify.pictures(source, options.images)
    with publish.staging(options.output, options.name) as folder:
        files = folder / "files"
        files.mkdir()
        model, file = convert.to_onnx(source, options.input_dtype), files / publish.MODEL
        onnx.save(model, file)
        parity = verify.verify(source, file, pixels, names, options.tolerance)
        onnx.helper.set_model_props(model, _metadata(source, options, parity))
        onnx.save(model, file)
        source.model.save(files / "model.keras")
        version = publish.publish(
            files, options.output, options.name, _config(source, options), source.labels
        )
    return Exported(version, parity)


def _config(source: Source, options: Options) -> str:
    height, width = source.size
    return publish.CONFIG.format(
        name=options.name,
        input=convert.INPUT,
        datatype={"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}[options.input_dtype],
        height=height,
        width=width,
        output=convert.OUTPUT,
        classes=source.classes,
        label_filename=f' label_filename: "{publish.LABELS}"' if source.labels else "",
    )


def _metadata(source: Source, options: Options, parity: verify.Parity) -> dict[str, str]:
    """What travels in the ONNX file: how it takes pixels, where it comes from, how equal it is."""
    labels = "".join(f"{label}\n" for label in source.labels)
    properties: dict[str, Any] = {
        "preprocessing": {
            "color": "RGB",
            "layout": "NHWC",
            "scale": source.scale,
            "offset": source.offset,
            "resize": options.resize,
            "interpolation": "bilinear",
        },
        "source": {
            "model": source.model.name,
            "weights": source.weights,
            "sha256": source.sha256,
        },
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tensorflow.__version__,
            "tf2onnx": tf2onnx.__version__,
            "onnx": onnx.__version__,
            "opset": convert.OPSET,
        },
        "labels_sha256": hashlib.sha256(labels.encode()).hexdigest(),
        "parity": asdict(parity),
    }
    return {f"crossrun.{key}": json.dumps(value) for key, value in properties.items()}
