"""The metrics of each target that a result holds: a comparison has to cover them."""

from crossrun_bench.view.series import Answers, Comparable, Row, Series

TIMES = ("p50", "p90", "p99")


def rows(told: Comparable, reference: str | None) -> set[Row]:
    """All rows of a result, without speeds of the reference."""
    timed = ((key, series) for key, series in told.series.items() if key[0] != reference)
    speeds = {(*key, metric) for key, series in timed for metric in _speeds(series)}
    said = {(a.target, a.setting, m) for a in told.answers.values() for m in _shares(a)}
    return speeds | set(told.once) | said


def _speeds(series: Series) -> tuple[str, ...]:
    return (*(TIMES if series.answered else ()), "throughput")


def _shares(answers: Answers) -> list[str]:
    known = {"top1": answers.right, "agreement": answers.agreeing}
    return [metric for metric, shares in known.items() if shares is not None]
