"""The report's part on a detector: mean average precision, and pictures of what was found."""

import base64
import io
from collections.abc import Iterator, Sequence

from PIL import Image

from crossrun_bench.client.drawing import Mark, draw
from crossrun_bench.measurements.detection.average_precision import (
    MOST,
    Precision,
    average_precision,
)
from crossrun_bench.measurements.detection.result import (
    Detection,
    DetectionResult,
    TargetDetections,
    Truth,
)
from crossrun_bench.report.headlines import Headline
from crossrun_bench.targets.targets import ENCODED, label
from crossrun_bench.view import figures
from crossrun_bench.view.table import SAME_PIXELS, Row, Table

SURE = 0.5  # score from which on an object is drawn
COLUMNS = ("Target", "mAP@[.5:.95]", "mAP@0.5", "Difference", f"Score ≥ {SURE:g}")
COCO = (
    "Mean average precision as COCO defines it (pycocotools): the mean over the classes, and over "
    f"ten IoU thresholds or at 0.5, of at most {MOST} objects a picture. "
    "Difference: of mAP@[.5:.95], to the source model."
)
_SIDE, _GAP = 320, 12  # pixels: of a picture's longer side, and between two


def tables(result: DetectionResult) -> list[Table]:
    """All classes together, and each class."""
    return [_together(result), _by_class(result)]


def headline(result: DetectionResult) -> Headline:
    """Of the last target, the farthest from the source."""
    reference, *_, last = _precisions(result)
    name, source = label(result.targets[-1].target), label(result.targets[0].target)
    figure = _share(last.at_half)
    detail = f"{name}; {source}: {_share(reference.at_half)}; {len(result.pictures):,} pictures"
    return Headline(figure, "mAP@0.5", detail, f"{name}: mAP@0.5 {figure}")


def pictures(result: DetectionResult) -> Iterator[tuple[str, bytes]]:
    """Names of the pictures that the result keeps, and JPEGs as `caption` describes them."""
    for shown in result.shown:
        with Image.open(io.BytesIO(base64.b64decode(shown.jpeg))) as kept:
            sized = _sized(kept)
        found = [d for d in result.targets[-1].detections[shown.number] if d.score >= SURE]
        ratio = sized.width / shown.width
        both = Image.new("RGB", (2 * sized.width + _GAP, sized.height), "white")
        for left, objects in ((0, found), (sized.width + _GAP, result.truths[shown.number])):
            both.paste(draw(sized, [_mark(one, result, ratio) for one in objects]), (left, 0))
        buffer = io.BytesIO()
        both.save(buffer, "JPEG", quality=90)
        yield result.pictures[shown.number], buffer.getvalue()


def caption(result: DetectionResult) -> str:
    """What the pictures show."""
    return (
        f"Left: found by {label(result.targets[-1].target)}, with scores from {SURE:g} on. Right: "
        "what there is. The pictures lie at equal distances in the data set; none was chosen."
    )


def _together(result: DetectionResult) -> Table:
    reference, *_ = found = _precisions(result)
    pairs_of = zip(result.targets, found, strict=True)
    rows = tuple(
        (
            label(target.target),
            _share(own.mean),
            _share(own.at_half),
            figures.NONE if own is reference else f"{own.mean - reference.mean:+.4f}",
            f"{_sure(target):,}",
        )
        for target, own in pairs_of
    )
    objects = sum(map(len, result.truths))
    heading = f"Detection of {objects:,} objects in {len(result.pictures):,} pictures"
    decodes = any(target.target == ENCODED for target in result.targets)
    asked = f"All were asked for objects with scores from {result.min_score:g} on."
    notes = [COCO, asked, *([SAME_PIXELS] if decodes else []), *figures.left_out(result.left_out)]
    return Table(heading, COLUMNS, rows, tuple(notes))


def _sure(target: TargetDetections) -> int:
    return sum(one.score >= SURE for picture in target.detections for one in picture)


def _by_class(result: DetectionResult) -> Table:
    found = _precisions(result)
    counts = _counts(result.truths)
    rows: tuple[Row, ...] = tuple(
        (
            result.class_names[number],
            f"{counts[number]:,}",
            *(_share(own.by_class[number]) for own in found),
        )
        for number in found[0].by_class
    )
    columns = ("Class", "Objects", *(label(target.target) for target in result.targets))
    return Table("AP@[.5:.95] of each class", columns, rows)


def _counts(truths: Sequence[Sequence[Truth]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for truth in (t for picture in truths for t in picture if not t.crowd):
        counts[truth.number] = counts.get(truth.number, 0) + 1
    return counts


def _precisions(result: DetectionResult) -> list[Precision]:
    """Of each target."""
    return [average_precision(result.truths, target.detections) for target in result.targets]


def _share(value: float) -> str:
    return f"{value:.4f}"


def _sized(kept: Image.Image) -> Image.Image:
    """As large as a page shows it, so that its labels can be read there."""
    scale = _SIDE / max(kept.size)
    return kept.resize((round(kept.width * scale), round(kept.height * scale)))


def _mark(one: Detection | Truth, result: DetectionResult, ratio: float) -> Mark:
    ymin, xmin, ymax, xmax = (edge * ratio for edge in one.box)
    score = f" {one.score:.2f}" if isinstance(one, Detection) else ""
    return Mark((xmin, ymin, xmax, ymax), result.class_names[one.number] + score, one.number)
