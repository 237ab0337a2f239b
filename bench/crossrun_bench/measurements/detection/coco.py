"""Pictures with the boxes of what they show, from a data set in COCO's JSON.

https://cocodataset.org/#format-data. Knows no model but the names of its classes.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.detection.result import Truth
from crossrun_bench.models.labels import by_name, normal
from crossrun_bench.pictures.decoding import loaded, upright
from crossrun_bench.pictures.folders import hidden
from crossrun_bench.pictures.prepare import ENCODED
from crossrun_bench.targets.examples import calibrated, examples

_ANNOTATIONS = "annotations"  # COCO's own folder of JSON files, beside those of pictures


@dataclass(frozen=True)
class Scenes:
    """Pictures, and which objects are where in them."""

    files: tuple[Path, ...]
    names: tuple[str, ...]
    truths: tuple[tuple[Truth, ...], ...] | None  # None if nobody knows
    labelled: tuple[int, ...]  # classes that truths are known of
    left_out: int  # how many others a model was calibrated on


@dataclass(frozen=True)
class _Image:
    id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class _Annotation:
    image_id: int
    category_id: int
    bbox: tuple[float, ...]  # x, y, width, height in pixels
    iscrowd: int = 0


@dataclass(frozen=True)
class _Category:
    id: int
    name: str


@dataclass(frozen=True)
class _Document:
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


def scenes(source: Path, labels: Sequence[str], calibrated_on: Collection[str] = ()) -> Scenes:
    """The pictures of a data set, or of any folder, but those calibrated on.

    Args:
        source: the JSON file, or a folder that has one; without one nobody knows the truth.
        labels: of the model; each category that an object is of has the name of one.
        calibrated_on: see `Model`.

    Raises:
        BenchError: the JSON is not in COCO's form or names what is not there; no picture is left.
    """
    file = _json(source)
    return _labelled(file, labels, calibrated_on) if file else _bare(source, calibrated_on)


def _bare(source: Path, calibrated_on: Collection[str]) -> Scenes:
    found = examples(source, (), calibrated_on)
    return Scenes(found.files, found.names, None, (), found.left_out)


def _labelled(file: Path, labels: Sequence[str], calibrated_on: Collection[str]) -> Scenes:
    document = _read(file)
    truths = _truths(file, document, labels)
    pairs = [(image, _picture(file, image)) for image in document.images]
    kept = [(image, path) for image, path in pairs if not calibrated(path, calibrated_on)]
    if all(truth.crowd for image, _ in kept for truth in truths[image.id]):
        raise BenchError(f"{file}: no object to find in {len(kept):,} pictures")
    return Scenes(
        tuple(path for _, path in kept),
        tuple(image.file_name for image, _ in kept),
        tuple(tuple(truths[image.id]) for image, _ in kept),
        _known(document, labels),
        len(pairs) - len(kept),
    )


def _known(document: _Document, labels: Sequence[str]) -> tuple[int, ...]:
    """The classes that the data set lists, whether it shows one or not."""
    known = by_name(labels)
    found = (known.get(normal(category.name), ()) for category in document.categories)
    return tuple(sorted({numbers[0] for numbers in found if len(numbers) == 1}))


def _json(source: Path) -> Path | None:
    """The data set's one JSON file, or None for pictures without one."""
    if not source.is_dir():
        return None if source.suffix.lower() in ENCODED else source
    every = [*source.glob("*.json"), *source.glob(f"{_ANNOTATIONS}/*.json")]
    found = sorted(file for file in every if not hidden(file.relative_to(source)))
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(source)) for file in found)
        raise BenchError(f"{source}: expected one JSON file of boxes in COCO's form, got {names}")
    return found[0] if found else None


def _read(file: Path) -> _Document:
    try:
        return decode(_Document, json.loads(file.read_text("utf-8")))
    except OSError as error:
        raise BenchError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BenchError(f"{file}: not in COCO's form: {error}") from error


def _truths(
    file: Path, document: _Document, labels: Sequence[str]
) -> defaultdict[int, list[Truth]]:
    """The objects of each picture, by its id."""
    known = by_name(labels)
    classes = {one.id: known.get(normal(one.name), ()) for one in document.categories}
    names = {category.id: category.name for category in document.categories}
    images = {image.id for image in document.images}
    found: defaultdict[int, list[Truth]] = defaultdict(list)
    for i, one in enumerate(document.annotations):
        where = f"{file}: annotations[{i}]"
        if one.image_id not in images or one.category_id not in classes:
            raise BenchError(f"{where} is of an image or a category that is not listed")
        numbers, name = classes[one.category_id], names[one.category_id]
        if len(numbers) != 1:
            what = "several labels" if numbers else "no label"
            raise BenchError(f"{where} is a '{name}', which is {what} of the model")
        found[one.image_id].append(Truth(numbers[0], _box(where, one.bbox), bool(one.iscrowd)))
    return found


def _box(where: str, bbox: Sequence[float]) -> tuple[float, ...]:
    if len(bbox) != 4 or not all(0 <= side < float("inf") for side in bbox[2:]):
        raise BenchError(f"{where}: expected a bbox [x, y, width, height], got {list(bbox)}")
    x, y, width, height = bbox
    return y, x, y + height, x + width


def _picture(file: Path, image: _Image) -> Path:
    """Its file, below the folder of the JSON file, or of the data set in COCO's own layout."""
    root = file.parent.parent if file.parent.name == _ANNOTATIONS else file.parent
    inside = (one for one in root.iterdir() if one.is_dir() and not hidden(one.relative_to(root)))
    places = [root, *sorted(inside)]
    found = next((p for place in places if (p := place / image.file_name).is_file()), None)
    if found is None:
        raise BenchError(f"{file}: '{image.file_name}' is not in {root} or a folder of it")
    _check_size(file, image, found)
    return found


def _check_size(file: Path, image: _Image, picture: Path) -> None:
    """Boxes of a picture that was resized since would all be wrong."""
    size = size_of(picture)
    if size != (image.width, image.height):
        told = f"{image.width} x {image.height}"
        raise BenchError(f"{picture}: {size[0]} x {size[1]} pixels, but {file} says {told}")


def size_of(picture: Path) -> tuple[int, int]:
    """Width and height, with the EXIF orientation applied.

    Raises:
        BenchError: Pillow cannot read the file.
    """
    return upright(loaded(picture)).size
