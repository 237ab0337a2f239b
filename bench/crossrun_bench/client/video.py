"""Reads the frames of videos and cameras, and writes them. Only this module knows OpenCV."""

import os
from contextlib import AbstractContextManager, contextmanager

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: our own errors say enough

from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from PIL import Image

from crossrun_bench.errors import BenchError

Write = Callable[[Image.Image], None]

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
FILES = {".mp4", ".m4v", ".mov", ".mkv", ".avi"}
# MPEG-4: OpenCV's wheels write it into all of these, 600 frames of 640 x 480 a second. Browsers
# show VP9 as well, but OpenCV writes only 13 frames of it a second.
_CODEC = cv2.VideoWriter.fourcc(*"mp4v")
USUAL_RATE = 25.0  # for a camera, and for a video that does not state its own


def length(file: Path) -> int:
    """How many frames the file says that it has.

    Raises:
        BenchError: it is not a readable video.
    """
    with _opened(file) as video:
        return max(0, round(video.get(cv2.CAP_PROP_FRAME_COUNT)))


def rate(file: Path) -> float:
    """Frames a second.

    Raises:
        BenchError: it is not a readable video.
    """
    with _opened(file) as video:
        told: float = video.get(cv2.CAP_PROP_FPS)
        return told if told > 0 else USUAL_RATE


def frames(file: Path) -> Iterator[Image.Image]:
    """All frames, RGB, one at a time.

    Raises:
        BenchError: it is not a readable video, or it has no frame.
    """
    with _opened(file) as video:
        yield from _read(video, f"{file}: not a readable video: it has no frame")


def camera(device: str) -> Iterator[Image.Image]:
    """The frames of a camera, RGB, each the newest, until the camera has no more.

    Args:
        device: its number, or the path of its device.

    Raises:
        BenchError: there is no such camera, or it has no frame.
    """
    source = int(device) if device.isdecimal() else device
    with _capturing(source, f"camera {device}: not there, or in use") as video:
        video.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # what is read is then no older than needs be
        yield from _read(video, f"camera {device}: it has no frame")


@contextmanager
def writer(file: Path, frames_a_second: float) -> Iterator[Write]:
    """Write frames, all as large as the first; the file is whole on leaving.

    Raises:
        BenchError: OpenCV cannot write such a video here.
    """
    video = cv2.VideoWriter()

    def write(frame: Image.Image) -> None:
        known = str(file), _CODEC, frames_a_second, frame.size
        if not video.isOpened() and not video.open(*known):
            raise BenchError(f"{file.name}: OpenCV cannot write such a video here")
        video.write(cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2BGR))

    try:
        yield write
    finally:
        video.release()


@contextmanager
def live_writer(file: Path) -> Iterator[Write]:
    """As `writer`, for frames that come when they come: each fills the time since the one before.

    So the video lasts as long as it was recorded. A frame that comes too early is left out.
    """
    written, started = 0, 0.0
    with writer(file, USUAL_RATE) as write:

        def write_until_now(frame: Image.Image) -> None:
            nonlocal written, started
            started = started or perf_counter()
            due = 1 + int((perf_counter() - started) * USUAL_RATE)
            for _ in range(due - written):
                write(frame)
            written = max(written, due)

        yield write_until_now


def _read(video: cv2.VideoCapture, empty: str) -> Iterator[Image.Image]:
    more, frame = video.read()
    if not more:
        raise BenchError(empty)
    while more:
        yield Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        more, frame = video.read()


def _opened(file: Path) -> AbstractContextManager[cv2.VideoCapture]:
    return _capturing(str(file), f"{file}: not a readable video")


@contextmanager
def _capturing(source: str | int, wrong: str) -> Iterator[cv2.VideoCapture]:
    video = cv2.VideoCapture(source)
    try:
        if not video.isOpened():
            raise BenchError(wrong)
        yield video
    finally:
        video.release()
