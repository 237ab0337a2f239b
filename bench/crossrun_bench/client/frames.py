"""Asks about frames one by one, and takes the time of it. Knows neither videos nor servers."""

import io
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from time import perf_counter
from typing import ParamSpec, TypeVar

from PIL import Image

from crossrun_bench.client.asking import Seen

Ask = Callable[[bytes], Seen]
Keep = Callable[[Image.Image, Seen], None]
Tell = Callable[[Seen], None]
P = ParamSpec("P")
T = TypeVar("T")

QUALITY = 95  # of the JPEGs that are sent or kept


@dataclass(frozen=True)
class Times:
    """Seconds that all frames took together, and how many of them each part took."""

    wall: float
    decode: float  # reading a frame
    detect: float  # making a JPEG of it, and asking
    draw: float  # drawing on it and writing it


@dataclass(frozen=True)
class Watched:
    """What each frame shows, and how long that took."""

    frames: tuple[Seen, ...]
    times: Times


def watch(frames: Iterator[Image.Image], ask: Ask, keep: Keep, tell: Tell) -> Watched:
    """Ask about all frames, one after the other.

    Args:
        frames: RGB.
        ask: returns what a JPEG shows.
        keep: is given each frame and what it shows.
        tell: is given what each frame shows.
    """
    started, taken = perf_counter(), _Stopwatch()
    shown: list[Seen] = []
    while (frame := taken("decode", next, frames, None)) is not None:
        seen = taken("detect", _asked, ask, frame)
        taken("draw", keep, frame, seen)
        tell(seen)
        shown.append(seen)
    return Watched(tuple(shown), Times(perf_counter() - started, **taken.seconds))


@contextmanager
def interruption() -> Iterator[Event]:
    """An event that the first Ctrl-C sets; the second interrupts as ever."""
    pressed, before = Event(), signal.getsignal(signal.SIGINT)

    def press(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class _Stopwatch:
    """Adds up how long functions take, in seconds, by what they are for."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("decode", "detect", "draw"), 0.0)

    def __call__(self, part: str, do: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        started = perf_counter()
        try:
            return do(*args, **kwargs)
        finally:
            self.seconds[part] += perf_counter() - started


def _asked(ask: Ask, frame: Image.Image) -> Seen:
    buffer = io.BytesIO()
    frame.save(buffer, "JPEG", quality=QUALITY)
    return ask(buffer.getvalue())
