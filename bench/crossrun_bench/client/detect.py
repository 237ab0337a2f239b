"""`crossrun-bench detect`: asks a running server about pictures, videos and a camera's frames."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from time import strftime

from PIL import Image

from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.client import video
from crossrun_bench.client.asking import Question, Seen, ask
from crossrun_bench.client.classify import connected
from crossrun_bench.client.drawing import Mark, draw
from crossrun_bench.client.frames import QUALITY, Ask, Keep, Times, interruption, watch
from crossrun_bench.client.video import Write
from crossrun_bench.errors import BenchError
from crossrun_bench.files import whole
from crossrun_bench.pictures.decoding import loaded, upright
from crossrun_bench.pictures.folders import found
from crossrun_bench.pictures.prepare import ENCODED
from crossrun_bench.progress import Step, bar, say


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
    """What was seen in one file: in a picture, or in all frames of a video or a camera."""

    name: str
    is_video: bool
    frames: tuple[Seen, ...]
    times: Times | None = None  # of a video


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


def record(device: str, address: str, question: Question, save: Path | None = None) -> Found:
    """Ask about the frames of a camera until Ctrl-C or its end; with `save`, keep a video there.

    Args:
        device: see `video.camera`.
        address: of the server.
        question: what is asked about each frame.
        save: a folder.

    Raises:
        BenchError: there is no such camera, or the server cannot be asked; nothing is kept.
    """
    name = f"camera {device}"
    kept = save / f"camera-{Path(device).stem}-{strftime('%Y%m%d-%H%M%S')}.mp4" if save else None
    with connected(address) as channel, bar(None) as step, interruption() as pressed:
        asked = _named(partial(ask, VisionStub(channel), question), name, address)
        frames = takewhile(lambda _: not pressed.is_set(), video.camera(device))
        with _keeping(kept, video.live_writer) as keep:
            watched = watch(frames, asked, keep, lambda seen: step(f"{name}: {_summary(seen)}"))
    return Found(name, True, watched.frames, watched.times)


def found_in(file: File, asked: Ask, address: str, step: Step) -> Found:
    """What one file shows; the server's errors name the file."""
    see = _video if file.is_video else _picture
    return see(file, _named(asked, str(file.path), address), step)


def _named(asked: Ask, name: str, address: str) -> Ask:
    def ask_of(image: bytes) -> Seen:
        try:
            return asked(image)
        except BenchError as error:
            raise BenchError(f"{name}: {address}: {error}") from error

    return ask_of


def _picture(file: File, asked: Ask, step: Step) -> Found:
    """Send the file as it is."""
    seen = asked(file.path.read_bytes())
    if file.kept:
        drawn = marked(upright(loaded(file.path)), seen)
        with whole(file.kept) as aside:
            drawn.save(aside, quality=QUALITY)
    step(file.name)
    return Found(file.name, False, (seen,))


def _video(file: File, asked: Ask, step: Step) -> Found:
    """Send each frame as a JPEG; a copy of a video has no sound."""
    rate = video.rate(file.path)
    with _keeping(file.kept, partial(video.writer, frames_a_second=rate)) as keep:
        watched = watch(video.frames(file.path), asked, keep, lambda _: step(file.name))
    count = len(watched.frames)
    if count < (told := video.length(file.path)):
        say(f"{file.path} should have {told:,} frames, {count:,} could be read")
    return Found(file.name, True, watched.frames, watched.times)


@contextmanager
def _keeping(
    kept: Path | None, writer: Callable[[Path], AbstractContextManager[Write]]
) -> Iterator[Keep]:
    """A function that keeps a frame with what it shows; the video is whole on leaving."""
    if kept is None:
        yield lambda *_: None
        return
    with whole(kept) as aside, writer(aside) as write:
        yield lambda frame, seen: write(marked(frame, seen))


def _summary(seen: Seen) -> str:
    """Such as 2 person, 1 dog."""
    counts = Counter(thing.label for thing in seen.detections)
    return ", ".join(f"{count} {label}" for label, count in counts.most_common()) or "nothing"


def marked(picture: Image.Image, seen: Seen) -> Image.Image:
    """The picture with its objects drawn, the best on top."""
    marks = [
        Mark((xmin, ymin, xmax, ymax), f"{thing.label} {thing.score:.2f}", thing.index)
        for thing in seen.detections
        for ymin, xmin, ymax, xmax in [thing.box]
    ]
    return draw(picture, marks)
