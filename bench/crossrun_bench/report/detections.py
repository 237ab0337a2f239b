"""Tables of what `crossrun-bench detect` found."""

from collections.abc import Iterator, Sequence

from crossrun_bench.client.asking import Thing
from crossrun_bench.client.detect import Found
from crossrun_bench.client.frames import Times
from crossrun_bench.view import figures
from crossrun_bench.view.table import Row, Table

PICTURES = ("Picture", "Label", "Score", "ymin", "xmin", "ymax", "xmax")
VIDEOS = ("Video", "Label", "Frames", "Most at once", "Best score")
SPEED = ("Video", "Frames", "Frames/s", "Decode, ms", "Detect, ms", "Draw, ms")
SPEED_NOTE = (
    "Frames one after the other; milliseconds of each. Detect has the JPEG's making, draw the "
    "video's writing."
)
NOTHING = "nothing found"


def tables(found: Sequence[Found]) -> list[Table]:
    """What pictures show, what videos show, and how fast that was found out."""
    return [*of_pictures(found), *of_videos(found), *of_speed(found)]


def of_pictures(found: Sequence[Found]) -> Iterator[Table]:
    """A row for each object, best first; nothing without a picture."""
    groups = [_pictures(one) for one in found if not one.is_video]
    if groups:
        notes = ("Boxes are in pixels of the picture.",)
        yield _grouped(PICTURES, groups, notes)


def of_videos(found: Sequence[Found]) -> Iterator[Table]:
    """A row for each label of each video, most frames first; nothing without a video."""
    groups = [_videos(one) for one in found if one.is_video]
    if groups:
        yield _grouped(VIDEOS, groups, ())


def of_speed(found: Sequence[Found]) -> Iterator[Table]:
    """A row for each video; nothing without a video."""
    rows = tuple(
        _speed(one.name, len(one.frames), one.times) for one in found if one.times and one.frames
    )
    if rows:
        yield Table("", SPEED, rows, (SPEED_NOTE,))


def _grouped(columns: Row, groups: Sequence[list[Row]], notes: tuple[str, ...]) -> Table:
    """The name of a file stands in the first of its rows alone."""
    rows = tuple(
        (row[0] if i == 0 else "", *row[1:]) for group in groups for i, row in enumerate(group)
    )
    return Table("", columns, rows, notes, tuple(map(len, groups)))


def _pictures(one: Found) -> list[Row]:
    things = one.frames[0].detections
    rows = [
        (one.name, t.label, f"{t.score:.3f}", *(f"{edge:,.1f}" for edge in t.box)) for t in things
    ]
    return rows or [(one.name, NOTHING, *[figures.NONE] * 5)]


def _videos(one: Found) -> list[Row]:
    labels = {t.label for frame in one.frames for t in frame.detections}
    seen = {label: _of(label, one) for label in sorted(labels)}
    rows: list[Row] = [
        (
            one.name,
            label,
            f"{len(frames):,} of {len(one.frames):,}",
            f"{max(map(len, frames)):,}",
            f"{max(t.score for frame in frames for t in frame):.3f}",
        )
        for label, frames in sorted(seen.items(), key=lambda pair: -len(pair[1]))
    ]
    return rows or [(one.name, NOTHING, f"0 of {len(one.frames):,}", *[figures.NONE] * 2)]


def _speed(name: str, count: int, times: Times) -> Row:
    parts = (times.decode, times.detect, times.draw)
    each = (figures.milliseconds(part / count * 1e9) for part in parts)
    return (name, f"{count:,}", figures.rate(count / times.wall), *each)


def _of(label: str, one: Found) -> list[list[Thing]]:
    """The objects of a label in each frame that has some."""
    frames = ([t for t in frame.detections if t.label == label] for frame in one.frames)
    return [frame for frame in frames if frame]
