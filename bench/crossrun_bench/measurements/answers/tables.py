"""How the tables of several measurements tell what classifiers answer."""

from collections.abc import Iterable

from crossrun_bench.measurements.answers.comparison import Comparison
from crossrun_bench.measurements.answers.summary import AccuracyRow
from crossrun_bench.models.original import KERAS
from crossrun_bench.targets.targets import REFERENCES, label
from crossrun_bench.view import figures
from crossrun_bench.view.table import Row

SAME_PIXELS = (
    "All but the server's JPEG see the same pixels, decoded and resized by Pillow; "
    "the server's JPEG decodes and resizes in the server."
)


def columns(references: Iterable[str]) -> Row:
    """Of shares; the references are the targets that answers are compared with."""
    names = {original(target) for target in references}
    return "Top-1", "Top-5", f"Agrees with {names.pop() if len(names) == 1 else 'the original'}"


def original(reference: str) -> str:
    """The original as readers call it, by the target that runs it."""
    return "Keras" if reference == REFERENCES[KERAS] else label(reference)


def shares(row: AccuracyRow | None) -> Row:
    """What `columns` names."""
    if row is None:
        return (figures.NONE,) * 3
    agreeing = f"{row.agreeing:,} of {row.pictures:,}"
    return figures.percent(row.top1), figures.percent(row.top5), agreeing


def caveats(comparison: Comparison, who: str = "the model") -> list[str]:
    """What a reader has to know of the pictures, each as a sentence."""
    found = left_out(comparison.left_out, who)
    if comparison.labels is None:
        why = comparison.unlabelled
        found.append(f"No top-1 and top-5, for it is unknown what the pictures show: {why}.")
    return found


def left_out(count: int, who: str = "the model") -> list[str]:
    """A sentence on the pictures that were not asked about, if there are any."""
    are, them = ("picture is", "it") if count == 1 else ("pictures are", "them")
    return [f"{count:,} {are} left out: {who} was calibrated on {them}."] if count else []
