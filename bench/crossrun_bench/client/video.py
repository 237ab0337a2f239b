"""Reads the frames of a video file, and writes them. Only this module knows OpenCV."""

import os
from contextlib import contextmanager

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: our own errors say enough

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from crossrun_bench.errors import BenchError

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
FILES = {".mp4", ".m4v", ".mov", ".mkv", ".avi"}
# MPEG-4: OpenCV's wheels write it into all of these, 600 frames of 640 x 480 a second. Browsers
# show VP9 as well, but OpenCV writes only 13 frames of it a second.
_CODEC = cv2.VideoWriter.fourcc(*"mp4v")
_USUAL_RATE = 25.0  # for a video that does not state its own


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
        return told if told > 0 else _USUAL_RATE


def frames(file: Path) -> Iterator[Image.Image]:
    """All frames, RGB, one at a time.

    Raises:
        BenchError: it is not a readable video, or it has no frame.
    """
    with _opened(file) as video:
        more, frame = video.read()
        if not more:
            raise BenchError(f"{file}: not a readable video: it has no frame")
        while more:
            yield Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            more, frame = video.read()


@contextmanager
def writer(file: Path, frames_a_second: float) -> Iterator[Callable[[Image.Image], None]]:
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
def _opened(file: Path) -> Iterator[cv2.VideoCapture]:
    video = cv2.VideoCapture(str(file))
    try:
        if not video.isOpened():
            raise BenchError(f"{file}: not a readable video")
        yield video
    finally:
        video.release()
