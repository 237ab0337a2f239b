"""Detection, as the report and `compare` know it: headlines, sections of the page, and the rest."""

import base64
import io
from collections.abc import Iterator

from PIL import Image

from crossrun_bench.client.drawing import Mark, draw
from crossrun_bench.measurements.detection.result import Detection, DetectionResult, Truth
from crossrun_bench.measurements.detection.summary import DetectionSummary, summarise
from crossrun_bench.measurements.detection.tables import SURE, share, tables
from crossrun_bench.measurements.interface import Kind
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import FOUND, Picture, Section, plain

_SIDE, _GAP = 320, 12  # pixels: of a picture's longer side, and between two


def headlines(summary: DetectionSummary) -> list[Headline]:
    """Of the last target, the farthest from the source."""
    result = summary.result
    reference, *_, last = summary.precisions
    name, source = label(result.targets[-1].target), label(result.targets[0].target)
    figure = share(last.at_half)
    detail = f"{name}; {source}: {share(reference.at_half)}; {len(result.pictures):,} pictures"
    return [Headline(figure, "mAP@0.5", detail, f"{name}: mAP@0.5 {figure}")]


def sections(summary: DetectionSummary) -> list[Section]:
    """The tables, and what was found beside what there is in some pictures."""
    result = summary.result
    shown = [Section(FOUND, _caption(result), pictures=list(_pictures(result)))]
    return [*plain(tables(summary)), *(shown if result.shown else [])]


def _pictures(result: DetectionResult) -> Iterator[Picture]:
    """Of those that the result keeps, as the caption describes them."""
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


def _caption(result: DetectionResult) -> str:
    return (
        f"Left: found by {label(result.targets[-1].target)}, with scores from {SURE:g} on. Right: "
        "what there is. The pictures lie at equal distances in the data set; none was chosen."
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
