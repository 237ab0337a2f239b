"""`crossrun-bench detect` with a real server: pictures, folders and videos, and what goes wrong."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from crossrun_bench.client import detect, video
from crossrun_bench.client.asking import Seen, Thing
from crossrun_bench.errors import BenchError
from tests.support import detectors
from tests.support.running import BIN, Command, Server, serving

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (90, 90, 90)
ORIENTATION = 0x0112  # EXIF tag
FRAMES = 12


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that finds coloured rectangles."""
    root = detectors.write_all(tmp_path_factory.mktemp("detectors"))
    names = ("--model-control-mode", "explicit", "--load-model", "finder")
    with serving(root, tmp_path_factory.mktemp("log") / "log", *names) as running:
        yield running


def rectangle(box: tuple[int, int, int, int] | None, colour: tuple[int, int, int]) -> Image.Image:
    """128 x 96 pixels, grey, with a rectangle (left, top, right, bottom)."""
    image = Image.new("RGB", (128, 96), GREY)
    if box:
        ImageDraw.Draw(image).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), colour)
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures and one below, which is turned."""
    inside = tmp_path / "in"
    (inside / "sub").mkdir(parents=True)
    rectangle((20, 10, 60, 50), RED).save(inside / "a.png")
    rectangle(None, RED).save(inside / "b.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise
    turned = rectangle((20, 10, 60, 50), BLUE)
    turned.save(inside / "sub" / "c.jpg", exif=exif, quality=100, subsampling=0)
    return inside


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """A video of a red rectangle that moves right."""
    file = tmp_path / "moving.mp4"
    with video.writer(file, 10) as write:
        for i in range(FRAMES):
            write(rectangle((4 * i, 20, 4 * i + 40, 60), RED))
    return file


def found(done: Any) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)}


def test_pictures_of_a_folder_are_shown_and_kept(
    finder: Server, folder: Path, tmp_path: Path, run: Command
) -> None:
    """Each with its boxes under its own name, upright; where nothing is, that is said."""
    options = ["--target", finder.address, "--save", tmp_path / "out"]
    done = run("crossrun-bench", "detect", folder, *options)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["a.png", "red", "1.000", "10.0", "20.0", "50.0", "60.0"] in rows
    assert ["b.png", "nothing", "found", *"–––––"] in rows  # noqa: RUF001 - as tables write it
    kept = [str(f.relative_to(tmp_path / "out")) for f in (tmp_path / "out").rglob("*.*")]
    assert sorted(kept) == ["a.png", "b.png", "sub/c.jpg"]
    with Image.open(tmp_path / "out" / "a.png") as drawn, Image.open(folder / "a.png") as plain:
        changed = np.any(np.asarray(drawn) != np.asarray(plain), axis=2)
    assert changed[30, 20]
    assert not changed[30, 40]
    with Image.open(tmp_path / "out" / "sub" / "c.jpg") as turned:
        assert turned.size == (96, 128)
        assert not turned.getexif().get(ORIENTATION)


def test_json_has_boxes_in_pixels_of_the_picture(
    finder: Server, folder: Path, run: Command
) -> None:
    """The turned picture's own box is 128 high, and what was left above is right above."""
    options = ["--target", finder.address, "--json"]
    answers = found(run("crossrun-bench", "detect", folder, *options))
    (seen,) = answers["sub/c.jpg"]["frames"]
    assert (seen["width"], seen["height"]) == (96, 128)
    (thing,) = seen["detections"]
    assert thing["label"] == "blue"
    assert thing["box"] == pytest.approx([20, 46, 60, 86], abs=3)
    assert answers["b.png"]["frames"][0]["detections"] == []


def test_thresholds_and_labels_reach_the_server(
    finder: Server, tmp_path: Path, run: Command
) -> None:
    """What is asked for is found, and nothing else."""
    image = rectangle((20, 10, 60, 50), RED)
    image.paste((0, 200, 0), (70, 50, 110, 90))
    image.save(tmp_path / "two.png")
    start = ["crossrun-bench", "detect", tmp_path / "two.png", "--target", finder.address, "--json"]

    def labels(*options: object) -> list[str]:
        (one,) = found(run(*map(str, start), *options)).values()
        return [thing["label"] for thing in one["frames"][0]["detections"]]

    assert labels() == ["red", "green"]
    assert labels("--model", "finder", "--label", "green") == ["green"]
    assert labels("--max-detections", 1) == ["red"]
    assert labels("--min-score", 0.9, "--iou-threshold", 0.5) == ["red"]


def test_tiles_reach_the_server(finder: Server, tmp_path: Path, run: Command) -> None:
    """With them an object is found that is too small in the whole picture."""
    image = Image.new("RGB", (640, 480), GREY)
    image.paste(RED, (100, 100, 104, 104))
    image.save(tmp_path / "small.png")
    start = ("crossrun-bench", "detect", str(tmp_path / "small.png"), "--target", finder.address)
    for options, count in ((), 0), (("--tiles", "4x4"), 1):
        (one,) = found(run(*start, "--json", *options)).values()
        assert len(one["frames"][0]["detections"]) == count
    for wrong in ("4", "0x2", "2x", "axb"):
        done = run(*start, "--tiles", wrong)
        assert done.returncode == 1
        assert f"--tiles '{wrong}': expected columns and rows, such as 2x2" in done.stderr


def test_a_video_is_asked_about_frame_by_frame(
    finder: Server, moving: Path, tmp_path: Path, run: Command
) -> None:
    """The box moves with the frames, and the kept video has as many, with boxes."""
    options = ["--target", finder.address, "--save", tmp_path / "out", "--json"]
    answers = found(run("crossrun-bench", "detect", moving, *options))
    frames = answers["moving.mp4"]["frames"]
    lefts = [frame["detections"][0]["box"][1] for frame in frames]
    assert lefts == pytest.approx([4 * i for i in range(FRAMES)], abs=3)
    kept = tmp_path / "out" / "moving.mp4"
    assert [f.name for f in kept.parent.iterdir()] == ["moving.mp4"]
    assert len(list(video.frames(kept))) == FRAMES
    assert video.rate(kept) == 10
    pairs = zip(video.frames(moving), video.frames(kept), strict=True)
    plain, drawn = list(pairs)[FRAMES - 1]
    difference = np.abs(np.asarray(plain, np.int16) - np.asarray(drawn, np.int16)).max(axis=2)
    assert difference[5, 100] < 60 < difference[18:62, 40:90].max()


def test_a_video_is_summed_up_by_label(finder: Server, moving: Path, run: Command) -> None:
    """In how many frames, how many at once, and the best score."""
    done = run("crossrun-bench", "detect", moving, "--target", finder.address)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert any(row[:6] == ["moving.mp4", "red", "12", "of", "12", "1"] for row in rows)
    (speed,) = (row for row in rows if row[:2] == ["moving.mp4", "12"])
    rate, decode, ask, draw = map(float, speed[2:])
    assert rate > 0 < ask
    assert decode > draw == 0


def test_the_parts_of_a_videos_time_are_less_than_all_of_it(
    finder: Server, moving: Path, tmp_path: Path, run: Command
) -> None:
    """Reading, asking, and drawing if a copy is kept."""
    options = ["--target", finder.address, "--save", tmp_path / "out", "--json"]
    times = found(run("crossrun-bench", "detect", moving, *options))["moving.mp4"]["times"]
    parts = [times[part] for part in ("decode", "detect", "draw")]
    assert min(parts) > 0
    assert sum(parts) < times["wall"]


def test_a_camera_is_watched_until_its_end(
    finder: Server, moving: Path, tmp_path: Path, run: Command
) -> None:
    """By its device, here a file; it is named, and the video that is kept is whole."""
    options = ["--camera", moving, "--target", finder.address, "--save", tmp_path / "out", "--json"]
    assert f"camera {moving}" in found(run("crossrun-bench", "detect", *options))
    (kept,) = (tmp_path / "out").iterdir()
    assert re.fullmatch(r"camera-moving-\d{8}-\d{6}\.mp4", kept.name)
    assert next(video.frames(kept)).size == (128, 96)


def test_ctrl_c_ends_a_camera_with_a_whole_video(finder: Server, tmp_path: Path) -> None:
    """What was seen until then is told."""
    endless, out = tmp_path / "endless.avi", tmp_path / "out"
    with video.writer(endless, 10) as write:
        for _ in range(3000):
            write(rectangle((20, 10, 60, 50), RED))
    command = [BIN / "crossrun-bench", "detect", "--camera", endless, "--save", out, "--json"]
    with subprocess.Popen(
        [*map(str, command), "--target", finder.address], stdout=subprocess.PIPE, text=True
    ) as process:
        while not (out.exists() and any(out.iterdir())):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        answer, _ = process.communicate(timeout=60)
    (camera,) = json.loads(answer)
    assert process.returncode == 0
    assert 0 < len(camera["frames"]) < 3000
    assert {thing["label"] for frame in camera["frames"] for thing in frame["detections"]} == {
        "red"
    }
    (kept,) = out.iterdir()
    assert kept.suffix == ".mp4"
    assert len(list(video.frames(kept))) > 0


def test_a_recording_lasts_as_long_as_it_was_recorded(tmp_path: Path) -> None:
    """A frame that comes late fills the time since the one before, at 25 frames a second."""
    with video.live_writer(tmp_path / "slow.mp4") as write:
        write(rectangle(None, RED))
        time.sleep(0.25)
        write(rectangle(None, RED))
    assert len(list(video.frames(tmp_path / "slow.mp4"))) >= 1 + 0.25 * 25 - 1


def test_a_camera_that_is_not_there_is_told(finder: Server, tmp_path: Path, run: Command) -> None:
    """In one line, and nothing is kept; files and a camera together are no question."""
    start = ("crossrun-bench", "detect", "--target", finder.address)
    for device in ("77", "/dev/video77"):
        done = run(*start, "--camera", device, "--save", tmp_path / "out")
        assert done.returncode == 1
        assert done.stderr == f"crossrun-bench: camera {device}: not there, or in use\n"
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())
    for both in ((), ("--camera", "0", tmp_path)):
        done = run(*start, *both)
        assert done.returncode == 2
        assert "expected files, or --camera without files" in done.stderr


def test_a_video_that_ends_early_is_told(
    finder: Server, moving: Path, tmp_path: Path, run: Command
) -> None:
    """What could be read is answered, and stderr says that there should be more."""
    long = tmp_path / "cut.mkv"
    with video.writer(long, 10) as write:
        for frame in list(video.frames(moving)) * 5:
            write(frame)
    long.write_bytes(long.read_bytes()[: long.stat().st_size // 2])
    done = run("crossrun-bench", "detect", long, "--target", finder.address, "--json")
    count = len(found(done)["cut.mkv"]["frames"])
    assert 0 < count < 5 * FRAMES
    assert f"cut.mkv should have {5 * FRAMES} frames, {count} could be read" in done.stderr


def test_a_video_that_cannot_be_finished_is_not_kept(moving: Path, tmp_path: Path) -> None:
    """An error in its middle leaves no file, and names the video."""
    asked: list[bytes] = []

    def ask(image: bytes) -> Seen:
        asked.append(image)
        if len(asked) > FRAMES // 2:
            raise BenchError("UNAVAILABLE: gone")
        return Seen(128, 96, (Thing(0, "red", 0.9, (1.0, 2.0, 30.0, 40.0)),))

    out = tmp_path / "out"
    file = detect.File(moving, moving.name, out / moving.name)
    with pytest.raises(BenchError, match=r"moving.mp4: 127.0.0.1:1: UNAVAILABLE: gone"):
        detect.found_in(file, ask, "127.0.0.1:1", lambda *_: None)
    assert list(out.iterdir()) == []


def test_what_cannot_be_read_is_told(finder: Server, tmp_path: Path, run: Command) -> None:
    """Each in one line that names the file, and nothing is kept of it."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    rectangle(None, RED).save(tmp_path / "good.png")
    expected = {
        "missing.png": "missing.png: no such file or folder",
        "empty": "empty: no pictures or videos (.avi, .jpeg, .jpg, ",
        "bad.mp4": "bad.mp4: not a readable video",
        "bad.jpg": "INVALID_ARGUMENT",
    }
    for name, text in expected.items():
        options = ["--target", finder.address, "--save", tmp_path / "out"]
        done = run("crossrun-bench", "detect", tmp_path / name, *options)
        assert done.returncode == 1, name
        assert text in done.stderr
        assert name in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    done = run(
        "crossrun-bench", "detect", tmp_path / "good.png", "--target", finder.address,
        "--label", "purple",
    )  # fmt: skip
    assert "no label 'purple'" in done.stderr


def test_nothing_is_kept_over_what_is_asked_about(folder: Path, tmp_path: Path) -> None:
    """Not in its own folder, and not two files under one name."""
    with pytest.raises(BenchError, match=r"a.png would overwrite .*a.png; expected another"):
        detect.listed([folder], folder)
    other = tmp_path / "other"
    other.mkdir()
    rectangle(None, RED).save(other / "a.png")
    with pytest.raises(BenchError, match=r"other/a.png would overwrite .*in/a.png"):
        detect.listed([folder, other], tmp_path / "out")
    assert len(detect.listed([folder, other], None)) == 4
