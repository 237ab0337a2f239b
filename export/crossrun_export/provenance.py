"""What an export keeps of the model that it came from, and says of it in the file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from crossrun_export.foreign.source import ForeignSource
from crossrun_export.scaling import Preprocessing

# What converts and asks models of other runtimes, where it is installed.
TOOLS = ("tensorflow", "tensorflow-cpu", "tf2onnx", "ai-edge-litert")


@dataclass(frozen=True)
class Provenance:
    """Where an exported model comes from."""

    preprocessing: Preprocessing
    labels: tuple[str, ...]  # one for each class, or none
    source: Mapping[str, Any]  # crossrun.source; "sha256" is that of the original
    versions: Mapping[str, str]  # of what converted it, by name
    save: Callable[[Path], None]  # puts the original, as it is, into a folder


def of_foreign(
    source: ForeignSource,
    preprocessing: Preprocessing,
    labels: tuple[str, ...],
    layout: Mapping[str, Any] | None,
) -> Provenance:
    """That of a model of another runtime.

    Args:
        source: the model.
        preprocessing: what it takes of pixels.
        labels: of its classes, as labels.txt will have them.
        layout: how its outputs are read, if it is a detector.
    """
    scale, offset = preprocessing.scaling.shortest
    return Provenance(
        preprocessing=preprocessing,
        labels=labels,
        source={
            "model": source.name,
            "sha256": source.sha256,
            "runtime": source.runtime,
            "file": source.file,
            "signature": source.signature,
            "input": source.picture.name,
            "dtype": source.picture.dtype.name,
            "axes": source.picture.axes,
            "scaling": {"color": preprocessing.scaling.color, "scale": scale, "offset": offset},
            "layout": layout,
        },
        versions=dict(_installed()),
        save=source.save,
    )


def _installed() -> Iterator[tuple[str, str]]:
    for name in TOOLS:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
