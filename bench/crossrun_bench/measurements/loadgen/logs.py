"""Reads the logs that MLPerf LoadGen writes: its verdict, what is scored, what was answered."""

import json
from pathlib import Path
from typing import Any

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.loadgen.result import ScenarioRun
from crossrun_bench.measurements.loadgen.rules import SCENARIOS

Detail = dict[str, Any]

_MARK = ":::MLLOG "
# As LoadGen's summary calls them; the first is for the Server scenario only.
_CONSTRAINTS = {
    "result_perf_constraints_met": "performance constraints",
    "result_min_duration_met": "min duration",
    "result_min_queries_met": "min queries",
    "early_stopping_met": "early stopping",
}


def detail(folder: Path) -> Detail:
    """Values of mlperf_log_detail.txt by key; the last one where a key comes again."""
    lines = (folder / "mlperf_log_detail.txt").read_text("utf-8").splitlines()
    entries = [json.loads(line.removeprefix(_MARK)) for line in lines if line.startswith(_MARK)]
    return {entry["key"]: entry["value"] for entry in entries}


def scenario_run(name: str, found: Detail, target_qps: float | None) -> ScenarioRun:
    """What the detailed log of a performance run says.

    Raises:
        BenchError: the log has no verdict.
    """
    if "result_validity" not in found:
        raise BenchError(f"{name}: no result_validity in LoadGen's detailed log")
    scenario, queries = SCENARIOS[name], found["result_query_count"]
    said = (found.get("result_invalid_reason", ""), found["early_stopping_result"])
    return ScenarioRun(
        scenario=name,
        valid=found["result_validity"] == "VALID",
        unmet=tuple(text for key, text in _CONSTRAINTS.items() if not found.get(key, True)),
        advice=" ".join(" ".join(said).replace("*", "").split()),
        queries=queries,
        pictures=queries * found["generated_samples_per_query"],
        latency_ns=found[scenario.latency] if scenario.latency else None,
        per_second=float(found[scenario.rate]) if scenario.rate else None,
        target_qps=target_qps,
    )


def classes(folder: Path, count: int) -> tuple[int, ...]:
    """The class that mlperf_log_accuracy.json holds for each picture.

    Raises:
        BenchError: a picture is missing.
    """
    entries = json.loads((folder / "mlperf_log_accuracy.json").read_text("utf-8"))
    # MultiStream pads its last query with pictures that were there before.
    found = {e["qsl_idx"]: int.from_bytes(bytes.fromhex(e["data"]), "little") for e in entries}
    if found.keys() != set(range(count)):
        raise BenchError(f"{folder}: LoadGen's accuracy log has {len(found)} of {count} pictures")
    return tuple(found[i] for i in range(count))
