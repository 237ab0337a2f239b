"""What commands print with --json. docs/operating.md describes the keys; none of them goes."""

import json
import math
from dataclasses import asdict
from typing import Any

from crossrun_client.server import ModelState, Placed, ServerState
from crossrun_client.statistics import Counters
from crossrun_client.swap import Side, Swapped


def show(document: Any) -> None:
    """Print one document on stdout."""
    print(json.dumps(document, allow_nan=False))  # noqa: T201 - the command's own output


def of_server(one: ServerState) -> dict[str, Any]:
    """Describe a server and its models; `models` is null if it does not list them."""
    return {
        "address": one.address,
        "name": one.name,
        "version": one.version,
        "front": one.front,
        "ready": one.ready,
        "models": None if one.models is None else [of_model(model) for model in one.models],
    }


def of_model(one: ModelState) -> dict[str, Any]:
    """Describe a version of a model; what the server does not tell is null."""
    return {
        "name": one.name,
        "version": one.version,
        "state": one.state,
        "reason": one.reason,
        "plan": one.plan or None,
        "placed": _placed(one.placed),
        "since_load": _counters(one.counters),
    }


def of_swap(one: Swapped) -> dict[str, Any]:
    """Describe a change that holds."""
    return {
        "model": one.before.loaded.name,
        "before": _side(one.before),
        "after": _side(one.after),
        "asked": one.what,
        "largest_difference": _finite(one.found.difference),
        "allowed_difference": _finite(one.allowed.difference),
        "agreement": one.found.agreement,
        "least_agreement": one.allowed.agreement,
        "alike": one.alike,
    }


def _side(one: Side) -> dict[str, Any]:
    return {
        "versions": list(one.loaded.versions),
        "placed": _placed(one.loaded.placed),
        "latency_ms": round(one.asked.latency_ms, 3),
    }


def _placed(one: Placed | None) -> dict[str, Any] | None:
    return asdict(one) if one else None


def _counters(one: Counters | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "requests": one.requests,
        "failures": one.failures,
        "latency_ms": _rounded(one.latency_ms),
        "queue_ms": _rounded(one.queue_ms),
        "compute_ms": _rounded(one.compute_ms),
        "rows_per_run": _rounded(one.rows_a_run),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
