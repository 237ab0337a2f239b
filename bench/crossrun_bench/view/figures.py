"""How figures are written, in every form of the report."""

# ruff: noqa: RUF001, RUF002 - a report is set with typographic signs

from crossrun_bench.models.info import ModelInfo
from crossrun_bench.providers import Provider
from crossrun_bench.stats import Mean, Ratio

NONE = "–"  # an en dash: not known, or without meaning


def milliseconds(ns: float) -> str:
    """Three significant digits or so: 6.94, 98.1, 1,204."""
    return _millions(ns)


def file_megabytes(count: int) -> str:
    """16.9, of a million bytes each: three significant digits or so."""
    return _millions(count)


def seconds(ns: float | None) -> str:
    """0.61 s."""
    if ns is None:
        return NONE
    return (
        f"{ns / 1e9:.2f}\N{NO-BREAK SPACE}s" if ns < 10e9 else f"{ns / 1e9:.1f}\N{NO-BREAK SPACE}s"
    )


def moment(iso: str) -> str:
    """2026-11-22 18:56 UTC, of a UTC time in ISO 8601."""
    return f"{iso[:16].replace('T', ' ')} UTC"


def megabytes(count: int | None) -> str:
    """563 MB, of a million bytes each."""
    return NONE if count is None else f"{count / 1e6:,.0f} MB"


def rate(per_second: float) -> str:
    """Pictures per second."""
    return f"{per_second:.1f}" if per_second < 100 else f"{per_second:,.0f}"


def rate_with_interval(found: Mean) -> str:
    """331 (325–337)."""
    if found.low is None or found.high is None:
        return rate(found.value)
    return f"{rate(found.value)} ({rate(max(found.low, 0))}–{rate(found.high)})"


def computed(provider: Provider) -> str:
    """OpenVINO computes fp32 in f32. Empty where no option says it."""
    return f"{provider.label} computes fp32 in {provider.precision}." if provider.precision else ""


def plain(value: float | None) -> str:
    """Three significant digits or so: 2.61, 26.1, 261."""
    return NONE if value is None else _millions(value * 1e6)


def times(ratio: Ratio | None) -> str:
    """2.61× and nothing more."""
    return NONE if ratio is None else f"{_short(ratio.value)}×"


def interval(ratio: Ratio | None) -> str:
    """2.55–2.68, or nothing without an interval."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    return f"{_short(ratio.low)}–{_short(ratio.high)}"


def times_with_interval(ratio: Ratio | None) -> str:
    """2.61× (2.55–2.68)."""
    bounds = interval(ratio)
    return f"{times(ratio)} ({bounds})" if bounds else times(ratio)


def percent(share: float | None) -> str:
    """72.5 %, and 100 % only for all."""
    if share is None:
        return NONE
    return "100 %" if share == 1 else f"{min(share * 100, 99.9):.1f} %"


def part(share: float | None) -> str:
    """26 %, of a size that may also be larger."""
    return NONE if share is None else f"{share:.0%}".replace("%", " %")


def part_with_interval(ratio: Ratio | None) -> str:
    """68 % (61–76)."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return part(ratio.value if ratio else None)
    return f"{part(ratio.value)} ({100 * ratio.low:.0f}–{100 * ratio.high:.0f})"


def plain_with_interval(ratio: Ratio | None) -> str:
    """1.53 (1.31–1.79)."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return plain(ratio.value if ratio else None)
    return f"{plain(ratio.value)} ({plain(ratio.low)}–{plain(ratio.high)})"


def difference(value: float | None) -> str:
    """Of probabilities: 1.2e-06, or 0."""
    if value is None:
        return NONE
    return f"{value:.1e}" if value else "0"


def model(info: ModelInfo) -> str:
    """Mobilenet version 1 (mobilenet_1.00_224, imagenet), 224 × 224, 1,000 classes."""
    source = ", ".join(info.source[key] for key in ("model", "weights") if key in info.source)
    size = f"{info.height} × {info.width}, {info.classes:,} classes"
    return f"{info.name} version {info.version}" + (f" ({source})" if source else "") + f", {size}"


def _millions(value: float) -> str:
    many = value / 1e6
    return f"{many:.2f}" if many < 10 else f"{many:.1f}" if many < 100 else f"{many:,.0f}"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
