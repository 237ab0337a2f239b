"""The end of every export: each precision becomes a version of a model, with its proof.

Knows neither classifiers nor detectors: whoever made and verified the models says what differs.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from crossrun_export import describe, half, proof, publish
from crossrun_export.options import Precision, Target
from crossrun_export.pictures import Pixels
from crossrun_export.proof import Origin, Proof
from crossrun_export.provenance import Provenance
from crossrun_export.publish import Draft
from crossrun_export.quantize import quantize
from crossrun_export.quantize.search import Merit
from crossrun_export.runtime import Inputs

ORIGINAL = "original"  # a folder for it, while the versions are made

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Calibration:
    """What int8 is calibrated on."""

    inputs: Inputs  # what the model takes
    merit: Merit
    measure: str  # what the first value of `merit` is
    notes: Mapping[str, Any]  # what else is said of the pictures
    float_ends: bool = False  # whether the last layers stay float


@dataclass(frozen=True)
class Version:
    """A verified model in one precision, and what is written beside it."""

    precision: Precision
    model: onnx.ModelProto
    metadata: Mapping[str, Any]  # beside what is said of every model
    labelled: Sequence[str]  # outputs whose classes labels.txt names
    pixels: Pixels  # for the proof
    prove: Callable[[Pixels], Proof]
    origin: Origin  # of the pixels


def reduce(
    model: onnx.ModelProto, calibration: Calibration | None, tell: Tell
) -> tuple[onnx.ModelProto, dict[str, Any] | None]:
    """Make a model int8, calibrated, or fp16 if there is nothing to calibrate on.

    Returns:
        The smaller model, and how it was calibrated.

    Raises:
        ExportError: onnxruntime cannot convert it.
    """
    if calibration is None:
        return half.to_fp16(model), None
    quantized = quantize(
        model, calibration.inputs, tell, calibration.merit, float_ends=calibration.float_ends
    )
    return quantized.model, {
        "method": quantized.method,
        calibration.measure: dict(quantized.merits),
        **calibration.notes,
    }


def write(
    versions: Sequence[Version], made_from: Provenance, target: Target, folder: Path
) -> list[Path]:
    """Write all versions, or none.

    Args:
        versions: one for each precision.
        made_from: the original, which lies beside each of them.
        target: whose name is that of the model in fp32; another precision is NAME-PRECISION.
        folder: of `publish.staging`, inside the model repository.

    Returns:
        The folder of each version.

    Raises:
        ExportError: a model is not what was verified, or its name is another model's.
    """
    (folder / ORIGINAL).mkdir()
    made_from.save(folder / ORIGINAL)
    drafts = [_draft(version, made_from, target, folder) for version in versions]
    return publish.publish(drafts, target.output)


def _draft(version: Version, made_from: Provenance, target: Target, folder: Path) -> Draft:
    model, precision = version.model, version.precision
    own = {"precision": precision, **version.metadata}
    onnx.helper.set_model_props(model, describe.metadata(made_from, target.resize, own))
    name = target.name if precision == "fp32" else f"{target.name}-{precision}"
    files = folder / "versions" / name
    shutil.copytree(folder / ORIGINAL, files, copy_function=_link)
    file = files / publish.MODEL
    onnx.save(model, file)
    about = {
        "precision": precision,
        "origin": version.origin,
        "source_sha256": made_from.source["sha256"],
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest()},
    }
    proof.write(files, version.pixels, version.prove, about)
    config = describe.config(model, name, version.labelled if made_from.labels else ())
    return Draft(name, files, config, made_from.labels)


def _link(file: str, other: str) -> None:
    """The original lies beside each precision; where the disk can, it is there once."""
    try:
        os.link(file, other)
    except OSError:
        shutil.copyfile(file, other)
