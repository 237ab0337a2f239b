"""What a person is told of an export, a line for each model."""

from crossrun_export.heads import Head
from crossrun_export.pipeline import Exported, Made
from crossrun_export.price import Price
from crossrun_export.publish import MODEL
from crossrun_export.tolerance import Allowed
from crossrun_export.verify import Parity

BOXES = "detection_boxes"


ALIKE = ", which says little: it answers all of them the same"


def told(exported: Exported) -> str:
    """How equal a model is, or what it costs."""
    made = exported.made
    runtime = exported.runtime
    cost, calibration, head = made.cost, made.calibration, _head(made.head)
    if not isinstance(cost, Price):
        return _parity(cost, made.allowed, runtime) + head + _boxes(made)
    size = (exported.version / MODEL).stat().st_size / 1e6
    how = f"; calibrated by {calibration['method']}" if calibration else ""
    return f"{size:.2f} MB, {_price(cost, runtime)}{how}{head}"


def _head(head: Head) -> str:
    return f"; scores are {head.kind}: {head.because}"


def _boxes(made: Made) -> str:
    found = made.localization
    if BOXES not in {output.name for output in made.model.graph.output}:
        return ""
    if found is None:
        return "; its boxes are not measured: drawn pictures show none of its classes"
    return (
        f"; on {found.pictures} drawn pictures {found.corloc:.2%} of boxes are good (CorLoc), "
        f"{found.top1:.2%} with the first class right"
    )


def _parity(parity: Parity, allowed: Allowed, runtime: str) -> str:
    why = ""
    if allowed.because:
        why = f", {allowed.because}: tolerance {allowed.max_diff:.1e}"
    five = parity.top5_agreement
    return (
        f"equal to {runtime} on {parity.images} pictures "
        f"(largest difference {parity.max_abs_diff:.1e}{why}, "
        f"top-1 {parity.top1_agreement:.2%}{'' if five is None else f', top-5 {five:.2%}'})"
        f"{ALIKE if parity.alike else ''}"
    )


def _price(price: Price, runtime: str) -> str:
    unmeasured = f"top-1 is not measured ({price.unlabelled}), " if price.top1 is None else ""
    right = unmeasured + "".join(
        f"{name} {share:.2%} ({100 * change:+.2f} points), "
        for name, share, change in (
            ("top-1", price.top1, price.top1_change),
            ("top-5", price.top5, price.top5_change),
        )
        if share is not None and change is not None
    )
    return (
        f"{right}agrees with {runtime} on {price.top1_agreement:.2%} "
        f"of {price.images} pictures in {price.views} views "
        f"(largest difference {price.max_abs_diff:.2g}, {price.worst})"
    )
