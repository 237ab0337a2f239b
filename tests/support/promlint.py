"""The rules by which `promtool check metrics` finds fault with metrics, and promtool itself.

Written from those of client_golang, which promtool applies:
https://github.com/prometheus/client_golang (prometheus/testutil/promlint/validations).
"""

import re
import shutil
import subprocess
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families as read_text

# Units that metrics should be in others of.
UNITS = (
    "minutes", "hours", "days", "weeks", "kelvins", "fahrenheit", "rankine", "inches", "yards",
    "miles", "bits", "calories", "pounds", "ounces",
)  # fmt: skip
BASE = ("amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres", "seconds")
MULTIPLES = (
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega",
    "mibi", "giga", "gibi", "tera", "tebi", "peta", "pebi",
)  # fmt: skip
WRONG = {*UNITS, *(multiple + unit for multiple in MULTIPLES for unit in (*UNITS, *BASE))}
SHORT = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
TYPES = {"counter", "gauge", "histogram", "summary"}


def problems(text: str) -> list[str]:
    """What is wrong with the metrics of a scrape, each as `name: what`."""
    return [
        f"{name}: {problem}"
        for family in read_text(text)
        for name in [_name(text, family)]
        for problem in _problems(name, family)
    ]


def promtool(text: str) -> list[str] | None:
    """What promtool says of them; None if it is not installed."""
    command = shutil.which("promtool")
    if command is None:
        return None
    words = [command, "check", "metrics"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line]


def _name(text: str, family: Metric) -> str:
    """The name of a family as it is written: this reader takes `_total` off."""
    written = f"{family.name}_total"
    return written if f"# TYPE {written} counter\n" in text else family.name


def _problems(name: str, family: Metric) -> Iterator[str]:
    parts = name.split("_")
    labels = {label for sample in family.samples for label in sample.labels}
    is_histogram, is_summary = family.type == "histogram", family.type == "summary"
    if not family.documentation:
        yield "no help text"
    if family.type == "counter" and not name.endswith("_total"):
        yield 'counter metrics should have "_total" suffix'
    if family.type != "counter" and name.endswith("_total"):
        yield 'non-counter metrics should not have "_total" suffix'
    if name.endswith("_bucket") and not is_histogram:
        yield 'non-histogram metrics should not have "_bucket" suffix'
    if name.endswith(("_count", "_sum")) and not (is_histogram or is_summary):
        yield 'non-histogram and non-summary metrics should not have "_count" or "_sum" suffix'
    if "le" in labels and not is_histogram:
        yield 'non-histogram metrics should not have "le" label'
    if "quantile" in labels and not is_summary:
        yield 'non-summary metrics should not have "quantile" label'
    if ":" in name:
        yield "metric names should not contain ':'"
    yield from _in_the_name(parts, labels)


def _in_the_name(parts: list[str], labels: set[str]) -> Iterator[str]:
    for part in parts[1:]:
        if part in WRONG:
            yield f"use a base unit instead of {part!r}"
        if part in SHORT:
            yield "metric names should not contain abbreviated units"
        if part in TYPES:
            yield f"metric name should not include type {part!r}"
    if any(re.search(r"[a-z][A-Z]", word) for word in (*parts, *labels)):
        yield "names should be written in 'snake_case' not 'camelCase'"
