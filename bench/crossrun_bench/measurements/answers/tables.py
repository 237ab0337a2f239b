"""How the tables of several measurements tell what classifiers answer."""

from crossrun_bench.measurements.answers.comparison import Comparison
from crossrun_bench.measurements.answers.summary import AccuracyRow
from crossrun_bench.view import figures
from crossrun_bench.view.table import Row

SHARES = ("Top-1", "Top-5", "Agrees with Keras")
SAME_PIXELS = (
    "All but the server's JPEG see the same pixels, decoded and resized by Pillow; "
    "the server's JPEG decodes and resizes in the server."
)


def shares(row: AccuracyRow | None) -> Row:
    """What SHARES names."""
    if row is None:
        return (figures.NONE,) * len(SHARES)
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
