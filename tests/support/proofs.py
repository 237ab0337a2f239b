"""Proofs beside models that were made by hand, and models whose answers are off."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.models.version_loader import ServerContext
from crossrun_server.proofs.evidence import Evidence
from tests.support import models
from tests.support.running import ON_CPU

ROWS = 5


def held(model: onnx.ModelProto, seed: int = 3, rows: int = ROWS) -> dict[str, np.ndarray]:
    """Random pictures for `colours` or `conv`, and what the model says of them."""
    (node,) = model.graph.input
    sizes = [dim.dim_value for dim in node.type.tensor_type.shape.dim]
    draw, shape = np.random.default_rng(seed), (rows, *sizes[1:])
    uint8 = node.type.tensor_type.elem_type == TensorProto.UINT8
    x = draw.integers(0, 256, shape, np.uint8) if uint8 else draw.random(shape, np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    outputs = zip(session.get_outputs(), session.run(None, {node.name: x}), strict=True)
    return {f"input/{node.name}": x} | {f"output/{one.name}": array for one, array in outputs}


def about(arrays: Mapping[str, np.ndarray], **changes: Any) -> str:
    """What a proof says of itself, as JSON."""
    outputs = [name.removeprefix("output/") for name in arrays if name.startswith("output/")]
    told: dict[str, Any] = {
        "precision": "fp32",
        "origin": "drawn",
        "source_sha256": "0" * 64,
        "max_diff": dict.fromkeys(outputs, 1e-4),
        "min_agreement": 1.0,
    }
    return json.dumps({key: value for key, value in (told | changes).items() if value is not None})


def encoded(arrays: Mapping[str, np.ndarray], **changes: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, about=np.array(about(arrays, **changes)), **arrays)
    return file.getvalue()


def write(version: Path, arrays: Mapping[str, np.ndarray], **changes: Any) -> Path:
    """Write proof.npz into the folder of a version."""
    file = version / "proof.npz"
    file.write_bytes(encoded(arrays, **changes))
    return file


def off_by(model: onnx.ModelProto, amount: float) -> onnx.ModelProto:
    """The same model, so much added to each answer."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    (output,) = changed.graph.output
    maker = next(node for node in changed.graph.node if output.name in node.output)
    maker.output[0] = "as_it_was"
    changed.graph.initializer.append(helper.make_tensor("amount", TensorProto.FLOAT, [], [amount]))
    changed.graph.node.append(helper.make_node("Add", ["as_it_was", "amount"], [output.name]))
    return changed


def repository(root: Path, off: float = 0.0, config: str = models.COLOURS_CONFIG) -> Path:
    """A repository of `colours` with its proof; its answers are off by so much."""
    original = models.colours()
    model = off_by(original, off) if off else original
    models.write(root, "colours", model, config, labels=["red", "green", "blue"])
    write(root / "colours" / "1", held(original), classes="scores")
    return root


def bomb() -> bytes:
    """A small file whose arrays are large."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {"about": np.array("{}"), "input/x": np.zeros(70_000_000, np.uint8)}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def tampered(data: bytes) -> bytes:
    """A proof of which bytes in the midst are others: its checksum tells."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = max(entry.header_offset for entry in archive.infolist())
    middle = start + (len(data) - start) // 3
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def load(root: Path, shared: ServerContext = ON_CPU, name: str = "colours") -> tuple[Evidence, ...]:
    """Load a model; gives what was found, of each session."""
    (model,) = loader.load(ModelSource(root / name), shared).models.values()
    try:
        return tuple(assignment.evidence for assignment in model.assignments)
    finally:
        model.close()


def refusal(root: Path, shared: ServerContext = ON_CPU, name: str = "colours") -> str:
    with pytest.raises(LoadError) as caught:
        load(root, shared, name)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix(f"failed to load {name!r}: version 1: ")


Seen = tuple[int, float, float]  # class, score, where the box begins


def outputs(*pictures: Sequence[Seen], most: int = 4) -> dict[str, np.ndarray]:
    found: dict[str, Any] = {
        "detection_boxes": np.zeros((len(pictures), most, 4), np.float32),
        "detection_scores": np.zeros((len(pictures), most), np.float32),
        "detection_classes": np.zeros((len(pictures), most), np.int64),
        "num_detections": np.array([len(seen) for seen in pictures], np.int32),
    }
    for picture, seen in enumerate(pictures):
        for place, (label, score, at) in enumerate(seen):
            found["detection_boxes"][picture, place] = (at, at, at + 0.2, at + 0.2)
            found["detection_scores"][picture, place] = score
            found["detection_classes"][picture, place] = label
    return found


TWO: list[Seen] = [(1, 0.9, 0.1), (2, 0.8, 0.5)]


def forget_checksum(version: Path) -> None:
    """Let a proof be of a file that was changed on purpose: it is held to its answers alone."""
    arrays = dict(np.load(version / "proof.npz"))
    told = json.loads(arrays.pop("about").item())
    write(version, arrays, **told | {"sha256": None})


def scale_scores(graph: onnx.GraphProto, factors: list[float]) -> None:
    """Multiply what the graph gives by a factor for each class."""
    (answer,) = (output.name for output in graph.output)
    for node in graph.node:
        node.output[:] = ["exact" if name == answer else name for name in node.output]
    graph.node.append(onnx.helper.make_node("Mul", ["exact", "factors"], [answer]))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(factors, np.float32), "factors"))
