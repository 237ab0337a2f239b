"""A plot, as plotly.js takes it. Traces name what they show; the page chooses the colours."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Plot:
    """One panel: a title, and `data` and `layout` as plotly.js takes them."""

    title: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """An axis of milliseconds: ticks at 1, 2 and 5 of each decade, a little room on both sides."""
    left, right = np.log10(low * 0.85), np.log10(high * 1.18)
    decades = 10.0 ** np.arange(np.floor(left), np.ceil(right))
    ticks = [d * step for d in decades for step in (1, 2, 5) if left <= np.log10(d * step) <= right]
    return {
        "type": "log",
        "range": [float(left), float(right)],
        "tickvals": ticks,
        "ticktext": [f"{tick:,g}" for tick in ticks],
        "title": {"text": "milliseconds a request"},
    }
