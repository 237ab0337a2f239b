"""What an ONNX file says of its pixels and labels in metadata_props.

Three writers are known: this project, ONNX's own keys for pictures
(https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md), and Ultralytics' exporter.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crossrun_export.errors import ExportError
from crossrun_export.scaling import CHOICES, Preprocessing, Scaling, parse

OURS = "crossrun.preprocessing"
FORMAT, RANGE = "Image.BitmapPixelFormat", "Image.NominalPixelRange"
FORMATS = {"Rgb8": "RGB", "Bgr8": "BGR"}
RANGES = {"NominalRange_0_255": "0..255", "Normalized_0_1": "0..1", "Normalized_1_1": "-1..1"}

Metadata = Mapping[str, str]


def pixels(about: Metadata) -> Preprocessing | None:
    """What a float input takes of pixels; None where the file does not say it.

    Raises:
        ExportError: this project's key cannot be read.
    """
    if OURS in about:
        return _ours(about[OURS])
    name = RANGES.get(about.get(RANGE, ""))
    color = FORMATS.get(about.get(FORMAT, ""))
    if name and color:
        scale, offset = CHOICES[name].shortest
        scaling = CHOICES[name] if color == "RGB" else _parsed(scale, offset, color)
        return Preprocessing(scaling, f"its metadata say {about[RANGE]}, {about[FORMAT]}")
    if about.get("author") == "Ultralytics":
        return Preprocessing(CHOICES["0..1"], "it was exported by Ultralytics")
    return None


def labels(about: Metadata) -> tuple[str, ...]:
    """The classes that Ultralytics' exporter names, first to last; empty where there are none."""
    try:
        names = ast.literal_eval(about.get("names", ""))
    except (ValueError, SyntaxError):
        return ()
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        return ()
    return tuple(str(names[place]) for place in range(len(names)))


def _ours(text: str) -> Preprocessing:
    try:
        said = json.loads(text)
        scaling = _parsed(said["scale"], said["offset"], said.get("color", "RGB"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{OURS} in its metadata cannot be read: {text}") from error
    usual = next((it for it in CHOICES.values() if replace(it, name=scaling.name) == scaling), None)
    return Preprocessing(usual or scaling, f"{OURS} in its metadata says so")


def _parsed(scale: Any, offset: Any, color: str) -> Scaling:
    """A scaling of its numbers, each one or three."""
    words = [
        "/".join(map(str, it)) if isinstance(it, list | tuple) else it for it in (scale, offset)
    ]
    return parse(f"scale={words[0]},offset={words[1]},color={color}")
