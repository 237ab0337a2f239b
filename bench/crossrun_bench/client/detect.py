"""`crossrun-bench detect`: asks a running server about pictures and videos, frame by frame."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.client import video
from crossrun_bench.client.asking import Question, Seen, ask
from crossrun_bench.client.classify import connected
from crossrun_bench.client.drawing import Mark, draw
from crossrun_bench.errors import BenchError
from crossrun_bench.files import whole
from crossrun_bench.pictures.decoding import loaded, upright
from crossrun_bench.pictures.folders import found
from crossrun_bench.pictures.prepare import ENCODED
from crossrun_bench.progress import Step, bar, say

Ask = Callable[[bytes], Seen]

_QUALITY = 95  # of the JPEGs that are sent or kept


@dataclass(frozen=True)
class File:
    """A picture or a video, its name inside the folder, and where to keep a drawn copy."""

    path: Path
    name: str
    kept: Path | None

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return self.path.suffix.lower() in video.FILES


@dataclass(frozen=True)
class Found:
    """What was seen in one file: in a picture, or in all frames of a video."""

    name: str
    is_video: bool
    frames: tuple[Seen, ...]


def detect(
    places: Sequence[Path], address: str, question: Question, save: Path | None = None
) -> list[Found]:
    """Ask about all files; with `save`, keep copies there with the objects drawn on them.

    Copies that were kept before an error stay, and each is whole.

    Raises:
        BenchError: a file cannot be read, or the server cannot be asked.
    """
    files = listed(places, save)
    total = sum(video.length(file.path) if file.is_video else 1 for file in files)
    with connected(address) as channel, bar(total) as step:
        asked = partial(ask, VisionStub(channel), question)
        return [found_in(file, asked, address, step) for file in files]


def listed(places: Sequence[Path], save: Path | None) -> list[File]:
    """All pictures and videos in files and folders, sorted within each folder, at any depth.

    Raises:
        BenchError: there is none, or a copy would overwrite another or its original.
    """
    named: dict[Path, str] = {}
    for place in places:
        known = found(place, ENCODED | video.FILES)
        named |= {f: str(f.relative_to(place)) if f != place else f.name for f in known}
    if not named:
        kinds = ", ".join(sorted(ENCODED | video.FILES))
        raise BenchError(f"{', '.join(map(str, places))}: no pictures or videos ({kinds})")
    files = [File(path, name, save / name if save else None) for path, name in named.items()]
    _check_kept(files)
    return files


def _check_kept(files: Sequence[File]) -> None:
    """Raise BenchError if a copy would overwrite an original or another copy."""
    taken = {file.path.resolve(): file for file in files}
    for file in files:
        if file.kept:
            other = taken.setdefault(file.kept.resolve(), file)
            if other is not file or file.kept.resolve() == file.path.resolve():
                raise BenchError(
                    f"{file.path} would overwrite {other.path}; expected another --save"
                )


def found_in(file: File, asked: Ask, address: str, step: Step) -> Found:
    """What one file shows; the server's errors name the file."""
    see = _video if file.is_video else _picture
    return Found(file.name, file.is_video, tuple(see(file, _named(asked, file, address), step)))


def _named(asked: Ask, file: File, address: str) -> Ask:
    def ask_of(image: bytes) -> Seen:
        try:
            return asked(image)
        except BenchError as error:
            raise BenchError(f"{file.path}: {address}: {error}") from error

    return ask_of


def _picture(file: File, asked: Ask, step: Step) -> Iterator[Seen]:
    """Send the file as it is."""
    seen = asked(file.path.read_bytes())
    if file.kept:
        drawn = marked(upright(loaded(file.path)), seen)
        with whole(file.kept) as aside:
            drawn.save(aside, quality=_QUALITY)
    step(file.name)
    yield seen


def _video(file: File, asked: Ask, step: Step) -> Iterator[Seen]:
    """Send each frame as a JPEG; a copy of a video has no sound."""
    count = 0
    with _keeping(file) as keep:
        for frame in video.frames(file.path):
            seen = asked(_jpeg(frame))
            keep(frame, seen)
            count += 1
            step(file.name)
            yield seen
    if count < (told := video.length(file.path)):
        say(f"{file.path} should have {told:,} frames, {count:,} could be read")


@contextmanager
def _keeping(file: File) -> Iterator[Callable[[Image.Image, Seen], None]]:
    """A function that keeps a frame with what it shows; the video is whole on leaving."""
    if file.kept is None:
        yield lambda *_: None
        return
    with whole(file.kept) as aside, video.writer(aside, video.rate(file.path)) as write:
        yield lambda frame, seen: write(marked(frame, seen))


def marked(picture: Image.Image, seen: Seen) -> Image.Image:
    """The picture with its objects drawn, the best on top."""
    marks = [
        Mark((xmin, ymin, xmax, ymax), f"{thing.label} {thing.score:.2f}", thing.index)
        for thing in seen.detections
        for ymin, xmin, ymax, xmax in [thing.box]
    ]
    return draw(picture, marks)


def _jpeg(frame: Image.Image) -> bytes:
    buffer = io.BytesIO()
    frame.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
