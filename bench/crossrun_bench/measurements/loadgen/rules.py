"""The rules of MLPerf Inference v0.5 for MobileNet, as settings of today's LoadGen.

Sources: the rules of 22 October 2019 (mlcommons/inference_policies, inference_rules.adoc) and
v0.5/mlperf.conf on branch r0.5 of mlcommons/inference. docs/benchmarking.md tells which of them
LoadGen no longer knows, and which are smaller here. Knows neither LoadGen itself nor a model.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from crossrun_bench.errors import BenchError

Settings = dict[str, int | float]  # attributes of mlperf_loadgen.TestSettings

QUALITY = 0.98  # of the top-1 that fp32 has
LIBRARY = 1024  # pictures in memory: "QSL size"
_LATENCY_NS = 10_000_000
_SEEDS = {
    "qsl_rng_seed": 3133965575612453542,
    "sample_index_rng_seed": 665484352860916858,
    "schedule_rng_seed": 3622009729038561421,
}


@dataclass(frozen=True)
class Scenario:
    """How queries come, and what LoadGen's detailed log calls what is scored."""

    least: int  # queries: with fewer, none over its time, LoadGen's early stopping is not satisfied
    pictures: int  # in a query; of Offline's one query that many at once tell the rate
    queries: int  # under way at the same time, to tell the rate
    latency: str | None  # scored percentile
    rate: str | None  # scored throughput


SERVER = "Server"
PERCENTILES = {"SingleStream": "p90", "MultiStream": "p99", SERVER: "p99"}  # that are scored
SCENARIOS = {
    "SingleStream": Scenario(64, 1, 1, "result_90.00_percentile_latency_ns", None),
    "MultiStream": Scenario(662, 8, 1, "result_99.00_percentile_per_query_latency_ns", None),
    SERVER: Scenario(
        459, 1, 32, "result_99.00_percentile_latency_ns", "result_completed_samples_per_sec"
    ),
    "Offline": Scenario(1, 64, 1, None, "result_samples_per_second"),
}


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """The named scenarios, each once.

    Raises:
        BenchError: a name is not a scenario, or there are no names.
    """
    wanted = tuple(dict.fromkeys(names))
    unknown = next((name for name in wanted if name not in SCENARIOS), None)
    if unknown is not None or not wanted:
        expected = ", ".join(SCENARIOS)
        raise BenchError(f"unknown scenario '{unknown or ''}': expected some of {expected}")
    return wanted


def settings(name: str, rate: float, seconds: float) -> Settings:
    """For a run of `seconds` or a little more, at or around `rate` pictures a second.

    In Server that is how fast they come; elsewhere LoadGen makes queries for twice the time, or in
    Offline for 1.1 times, and one who answers them sooner has too few of them.
    """
    scenario = SCENARIOS[name]
    expected_ns = 1e9 * scenario.pictures / rate
    own: dict[str, Settings] = {
        "SingleStream": {
            "single_stream_expected_latency_ns": expected_ns,
            "single_stream_target_latency_percentile": 0.90,
        },
        "MultiStream": {
            "multi_stream_expected_latency_ns": expected_ns,
            "multi_stream_target_latency_percentile": 0.99,
            "multi_stream_samples_per_query": scenario.pictures,
        },
        SERVER: {
            "server_target_qps": rate,
            "server_target_latency_ns": _LATENCY_NS,
            "server_target_latency_percentile": 0.99,
        },
        "Offline": {"offline_expected_qps": rate},
    }
    length = {"min_duration_ms": round(seconds * 1000), "min_query_count": scenario.least}
    return own[name] | length | _SEEDS
