"""`crossrun-bench detect`: asks a running server about the frames of videos and of a camera."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from time import strftime

from crossrun_bench.client import video
from crossrun_bench.client.frames import Ask, Keep, Times, interruption, watch
from crossrun_bench.client.video import Write
from crossrun_bench.errors import BenchError
from crossrun_bench.files import whole
from crossrun_bench.progress import Step, bar, say
from crossrun_bench.targets.channels import target
from crossrun_client import pictures, saving
from crossrun_client.connection import connected
from crossrun_client.errors import ClientError
from crossrun_client.saving import marked
from crossrun_client.vision import Question, Seen
from crossrun_client.vision import detect as ask

TIMEOUT_S = 60.0  # for each answer


@dataclass(frozen=True)
class File:
    """A video, its name inside the folder, and where to keep a drawn copy."""

    path: Path
    name: str
    kept: Path | None


@dataclass(frozen=True)
class Found:
    """What was seen in all frames of a video or a camera."""

    name: str
    frames: tuple[Seen, ...]
    times: Times


def detect(
    places: Sequence[Path], address: str, question: Question, save: Path | None = None
) -> list[Found]:
    """Ask about all videos; with `save`, keep copies there with the objects drawn on them.

    Copies that were kept before an error stay, and each is whole.

    Raises:
        BenchError: a video cannot be read, or the server cannot be asked.
        ClientError: there is none, or a copy would overwrite another or its original.
    """
    files = listed(places, save)
    total = sum(video.length(file.path) for file in files)
    with connected(target(address), TIMEOUT_S) as connection, bar(total) as step:
        asked = partial(ask, connection, question)
        return [found_in(file, asked, step) for file in files]


def listed(places: Sequence[Path], save: Path | None) -> list[File]:
    """All videos in files and folders, sorted within each folder, at any depth.

    Raises:
        ClientError: there is none, or a copy would overwrite another or its original.
    """
    named = pictures.named(places, video.FILES)
    kept = saving.places(named, save) if save else {}
    return [File(path, name, kept.get(path)) for path, name in named.items()]


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
    with (
        connected(target(address), TIMEOUT_S) as connection,
        bar(None) as step,
        interruption() as pressed,
    ):
        asked = _named(partial(ask, connection, question), name)
        frames = takewhile(lambda _: not pressed.is_set(), video.camera(device))
        with _keeping(kept, video.live_writer) as keep:
            watched = watch(frames, asked, keep, lambda seen: step(f"{name}: {_summary(seen)}"))
    return Found(name, watched.frames, watched.times)


def found_in(file: File, asked: Ask, step: Step) -> Found:
    """What one video shows; the server's errors name the file. A kept copy has no sound."""
    rate, ask_of = video.rate(file.path), _named(asked, str(file.path))
    with _keeping(file.kept, partial(video.writer, frames_a_second=rate)) as keep:
        watched = watch(video.frames(file.path), ask_of, keep, lambda _: step(file.name))
    count = len(watched.frames)
    if count < (told := video.length(file.path)):
        say(f"{file.path} should have {told:,} frames, {count:,} could be read")
    return Found(file.name, watched.frames, watched.times)


def _named(asked: Ask, name: str) -> Ask:
    def ask_of(image: bytes) -> Seen:
        try:
            return asked(image)
        except ClientError as error:
            raise BenchError(f"{name}: {error}") from error

    return ask_of


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
