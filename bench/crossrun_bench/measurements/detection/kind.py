"""Detection, as the report and `compare` know it: headlines, sections of the page, and the rest."""

import base64
import io
from collections.abc import Iterator, Sequence

from PIL import Image

from crossrun_bench.client.drawing import Mark, draw
from crossrun_bench.measurements.detection.curve import best
from crossrun_bench.measurements.detection.likeness import together
from crossrun_bench.measurements.detection.plots import LINES, by_score
from crossrun_bench.measurements.detection.result import (
    Detection,
    DetectionResult,
    TargetDetections,
    Truth,
)
from crossrun_bench.measurements.detection.summary import DetectionSummary, summarise
from crossrun_bench.measurements.detection.tables import chosen, share, tables
from crossrun_bench.measurements.interface import Kind
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import FOUND, Picture, Section, plain

_SIDE, _GAP = 320, 12  # pixels: of a picture's longer side, and between two


def headlines(summary: DetectionSummary) -> list[Headline]:
    """Of the last target, the farthest from the source."""
    result = summary.result
    name, source = label(result.targets[-1].target), label(result.targets[0].target)
    pictures = f"{len(result.pictures):,} pictures"
    if not summary.precisions:
        return _alike(summary, name, f"like {source}'s", pictures)
    reference, *_, last = summary.precisions
    figure = share(last.at_half)
    detail = f"{name}; {source}: {share(reference.at_half)}; {pictures}"
    return [Headline(figure, "mAP@0.5", detail, f"{name}: mAP@0.5 {figure}")]


def _alike(summary: DetectionSummary, name: str, caption: str, pictures: str) -> list[Headline]:
    found = together(summary.likenesses[-1])
    if found.agreement is None:
        return []
    figure = figures.percent(found.agreement)
    detail = f"{name}; {found.alike:,} of {found.sure:,} objects in {pictures}"
    return [Headline(figure, caption, detail, f"{name}: {figure} of objects {caption}")]


def sections(summary: DetectionSummary) -> list[Section]:
    """The tables, the curve, and what was found beside what there is in some pictures."""
    result = summary.result
    shown = [Section(FOUND, _caption(result), pictures=list(_pictures(result)))]
    return [*plain(tables(summary)), *_curve(summary), *(shown if result.shown else [])]


def _curve(summary: DetectionSummary) -> list[Section]:
    if not summary.curve:
        return []
    heading, intro = "Which score to count from", chosen(best(summary.curve))
    legend = [(colour, name) for name, colour in LINES]
    plot = by_score(summary.curve)
    return [Section(heading, intro, legend=legend, plots=[plot], layout="tall one")]


def _pictures(result: DetectionResult) -> Iterator[Picture]:
    """Of those that the result keeps, as the caption describes them."""
    for shown in result.shown:
        with Image.open(io.BytesIO(base64.b64decode(shown.jpeg))) as kept:
            sized = _sized(kept)
        ratio = sized.width / shown.width
        both = Image.new("RGB", (2 * sized.width + _GAP, sized.height), "white")
        sides = _sure(result.targets[-1], shown.number, result), _right(shown.number, result)
        for left, objects in zip((0, sized.width + _GAP), sides, strict=True):
            both.paste(draw(sized, [_mark(one, result, ratio) for one in objects]), (left, 0))
        buffer = io.BytesIO()
        both.save(buffer, "JPEG", quality=90)
        yield result.pictures[shown.number], buffer.getvalue()


def _right(number: int, result: DetectionResult) -> Sequence[Detection | Truth]:
    """What there is, or where nobody knows what the original finds."""
    if result.truths is None:
        return _sure(result.targets[0], number, result)
    return result.truths[number]


def _sure(target: TargetDetections, number: int, result: DetectionResult) -> Sequence[Detection]:
    return [one for one in target.detections[number] if one.score >= result.sure]


def _caption(result: DetectionResult) -> str:
    original = f"found by {label(result.targets[0].target)}"
    return (
        f"Left: found by {label(result.targets[-1].target)}, with scores from {result.sure:g} on. "
        f"Right: {original if result.truths is None else 'what there is'}. The pictures lie at "
        "equal distances in the data set; none was chosen."
    )


def _sized(kept: Image.Image) -> Image.Image:
    """As large as a page shows it, so that its labels can be read there."""
    scale = _SIDE / max(kept.size)
    return kept.resize((round(kept.width * scale), round(kept.height * scale)))


def _mark(one: Detection | Truth, result: DetectionResult, ratio: float) -> Mark:
    ymin, xmin, ymax, xmax = (edge * ratio for edge in one.box)
    score = f" {one.score:.2f}" if isinstance(one, Detection) else ""
    return Mark((xmin, ymin, xmax, ymax), result.class_names[one.number] + score, one.number)


DETECTION = Kind(
    result=DetectionResult,
    subject=lambda result: figures.model(result.model),
    summarise=summarise,
    tables=tables,
    headlines=headlines,
    sections=sections,
)
