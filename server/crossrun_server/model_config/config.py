"""Reads a model's config.pbtxt, and refuses what this server does not support.

The file is Triton's ModelConfig as protobuf text; fields.py says which fields work. Knows nothing
of the ONNX file.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf import json_format, text_format

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError, PollError
from crossrun_server.model_config import (
    bounds,
    detection_outputs,
    fields,
    scores,
    sent_options,
    session_config,
)

log = logging.getLogger(__name__)

# Keys of `parameters`: the owner's word that rows are independent, and what the server found.
ROWS_INDEPENDENT, ROWS = "rows_independent", "crossrun.rows"
# Key of `parameters`: which of the precisions that the export writes side by side is served.
PRECISION = "precision"
FULL, REDUCED = "fp32", ("int8", "fp16")


def read(folder: Path) -> pb.ModelConfig | None:
    """Read FOLDER/config.pbtxt; None if there is no such file.

    Raises:
        LoadError: it is not a valid ModelConfig, or describes something that this server refuses.
    """
    path = folder / "config.pbtxt"
    if not path.exists():
        return None
    try:
        # An editor on Windows may put a byte order mark before the text.
        proto = text_format.Parse(path.read_text(encoding="utf-8-sig"), pb.ModelConfig())
    except UnicodeDecodeError as error:
        raise LoadError(f"{path} is not UTF-8 text: {error.reason} at {error.start}") from error
    except text_format.ParseError as error:
        raise LoadError(f"{path}: {error}") from error
    return _checked(proto, folder.name, "config.pbtxt")


def from_json(text: str, name: str) -> pb.ModelConfig:
    """Read a configuration that a client sent as JSON, instead of a model's config.pbtxt.

    Raises:
        PollError: it is not a valid ModelConfig.
        LoadError: it describes something that this server refuses, or is too large.
    """
    try:
        proto = json_format.Parse(text, pb.ModelConfig())
    except json_format.ParseError as error:
        raise PollError(f"config: {error}") from error
    bounds.check(proto)
    sent_options.check(proto)
    return _checked(proto, name, "config")


def precision(proto: pb.ModelConfig | None) -> str:
    """Return the reduced precision that a model is to be served in; empty for its own files.

    Raises:
        LoadError: there is no such precision.
    """
    if proto is None or PRECISION not in proto.parameters:
        return ""
    asked = proto.parameters[PRECISION].string_value
    if asked not in (FULL, *REDUCED):
        known = ", ".join((FULL, *REDUCED))
        raise LoadError(f"parameters {PRECISION!r} is {asked!r}, expected one of {known}")
    return asked.removeprefix(FULL)


def _checked(proto: pb.ModelConfig, name: str, source: str) -> pb.ModelConfig:
    if proto.name not in ("", name):
        raise LoadError(f"{source} names the model {proto.name!r}")
    if proto.max_batch_size < 0:
        raise LoadError(f"{source}: max_batch_size is {proto.max_batch_size}, expected 0 or more")
    if proto.backend not in ("", "onnxruntime") or proto.platform not in ("", "onnxruntime_onnx"):
        raise LoadError(f"{source}: only ONNX models are served (backend 'onnxruntime')")
    used = set(fields.used(proto))
    if refused := used & fields.REFUSED:
        raise LoadError(f"{source}: {', '.join(sorted(refused))} is not supported")
    for field in sorted({*used & fields.IGNORED, *_unused_parameters(proto)}):
        log.warning("%s: %s in %s has no effect", name, field, source)
    _check_tensors(proto.input, source)
    _check_tensors(proto.output, source)
    for entry in proto.input:
        _check_format(entry, source)
    proto.name = name
    return proto


def _check_tensors(entries: "Iterable[pb.ModelInput | pb.ModelOutput]", source: str) -> None:
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise LoadError(f"{source}: {entry.name!r} is declared twice")
        names.add(entry.name)
        for size in (*entry.dims, *entry.reshape.shape):
            if size < 1 and size != -1:
                raise LoadError(
                    f"{source}: {entry.name!r} has the size {size}, expected 1 or more, "
                    "or -1 for any"
                )


def _check_format(entry: pb.ModelInput, source: str) -> None:
    """Check a format, which tells clients the order of a picture's dims, and has no effect here."""
    if entry.format != pb.ModelInput.FORMAT_NONE and len(entry.dims) != len("HWC"):
        raise LoadError(
            f"{source}: {entry.name!r} is {pb.ModelInput.Format.Name(entry.format)}, "
            f"expected 3 dims, got {list(entry.dims)}"
        )


def _unused_parameters(proto: pb.ModelConfig) -> Iterator[str]:
    ours = {ROWS_INDEPENDENT, ROWS, PRECISION}
    others = (session_config.understands, detection_outputs.understands, scores.understands)
    known = (ours.__contains__, *others)
    return (f"parameters.{key}" for key in proto.parameters if not any(k(key) for k in known))
