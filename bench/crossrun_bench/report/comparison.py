"""Two results side by side: what changed, what else differs, which conditions are broken."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from crossrun_bench.compare.command import Compared
from crossrun_bench.compare.side import Side
from crossrun_bench.compare.verdicts import NOISE, Change, Condition
from crossrun_bench.stats import Ratio
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures
from crossrun_bench.view.table import Row, Table

COLUMNS = ("Target", "Setting", "Metric", "A", "B", "Change", "95 % interval", "Verdict")
SPEEDS = (
    "Intervals of speeds: rounds, then requests within each, drawn again in both files "
    "(hierarchical bootstrap). They show how much one run varies, and nothing of what differs "
    "between two runs of the same thing; for that they are widened by {apart} (--apart), squares "
    "added. On a host that others share two runs may lie further apart than that."
)
RELATIVE = (
    "A and B: times by the median time of {0}, rates by its rate, both of the same round; what "
    "slowed all of a machine is in both. What {0} itself took stands below."
)
ANSWERS = "Intervals of top1 and agreement: pictures drawn again, the same in both files."
VERDICTS = (
    f"{NOISE}: the interval holds 0. At 95 %, chance alone calls one in twenty of these a change."
)


def tables(
    compared: Compared, broken: Mapping[Condition, Sequence[Change]], names: tuple[str, str]
) -> list[Table]:
    """What changed, what else differs, and the conditions if there are any."""
    found = [_changes(compared, names)]
    if compared.unlike or compared.differing:
        found.append(_differences(compared))
    if broken:
        found.append(_conditions(broken))
    return found


def _changes(compared: Compared, names: tuple[str, str]) -> Table:
    rows = tuple(_row(change, compared.reference) for change in compared.changes)
    groups = tuple(len(list(group)) for _, group in groupby(rows, lambda row: row[:2]))
    multiples = f", in multiples of {label(compared.reference)}" if compared.reference else ""
    heading = f"B, {names[1]}, against A, {names[0]}{multiples}"
    return Table(heading, COLUMNS, rows, _notes(compared), groups, warnings=_warnings(compared))


def _row(change: Change, reference: str | None) -> Row:
    bounds = figures.NONE
    if change.low is not None and change.high is not None:
        bounds = f"{change.low:+.1f} to {change.high:+.1f}"
    return (
        label(change.target),
        change.setting,
        change.metric.name,
        _value(change, change.before, reference),
        _value(change, change.after, reference),
        _amount(change),
        bounds,
        change.verdict,
    )


def _value(change: Change, value: float, reference: str | None) -> str:
    if change.metric.unit == "points":
        return figures.percent(value)
    if reference:
        return figures.times(Ratio(value, None, None))
    if change.metric.name == "throughput":
        return f"{figures.rate(value)}/s"
    return f"{figures.plain(value)} ms"


def _amount(change: Change) -> str:
    return f"{change.value:+.1f} {change.metric.unit}"


def _notes(compared: Compared) -> tuple[str, ...]:
    units = {change.metric.unit for change in compared.changes}
    speeds = [SPEEDS.format(apart=f"{compared.apart:.3g} %")] if "%" in units else []
    answers = [ANSWERS] if "points" in units else []
    reference = [RELATIVE.format(label(compared.reference))] if compared.reference else []
    alone = zip("AB", compared.alone, strict=True)
    only = [f"Only in {name}: {'; '.join(keys)}." for name, keys in alone if keys]
    return (*reference, *speeds, *answers, VERDICTS, *only)


def _warnings(compared: Compared) -> tuple[str, ...]:
    """What makes the comparison doubtful."""
    pairs = "; ".join(f"{name}: {a} and {b}" for name, a, b in compared.unlike)
    unlike = [f"Not alike, as --allow-unlike allows: {pairs}."] if pairs else []
    sides = [("A", compared.before), ("B", compared.after)]
    noise = [f"{name}: {text}" for name, side in sides for text in side.doubts]
    errors = [f"{name}: {text}" for name, side in sides for text in _errors(side)]
    some = [compared.left_out] if compared.left_out else []
    return (*unlike, *some, *noise, *errors)


def _errors(side: Side) -> list[str]:
    """Requests that failed are in no figure, and may make the others look fast."""
    named = ", ".join(f"{count:,} of {name}" for name, count in side.told.failed.items())
    failed = [f"Requests that ended in an error, and are in no figure: {named}."] if named else []
    return [*side.told.warnings, *failed]


def _differences(compared: Compared) -> Table:
    rows = (*compared.unlike, *compared.differing)
    return Table("What differs", ("", "A", "B"), rows)


def _conditions(broken: Mapping[Condition, Sequence[Change]]) -> Table:
    rows = tuple(
        (condition.text, "broken" if changes else "held", _where(changes))
        for condition, changes in broken.items()
    )
    note = "Broken: the change is over the limit, and more than noise."
    return Table("Conditions (--fail-if)", ("Condition", "", "By"), rows, (note,))


def _where(changes: Sequence[Change]) -> str:
    said = (f"{label(c.target)}, {c.setting}: {_amount(c)}" for c in changes)
    return "; ".join(said) or figures.NONE
