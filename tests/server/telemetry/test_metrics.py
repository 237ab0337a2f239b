"""The Prometheus endpoint of a real server, scraped as Prometheus does."""

import json
import platform
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models, promlint
from tests.support.requests import code_of, gather, simple, slow
from tests.support.running import ROOT, Command, Server, serving
from tests.support.telemetry import OPENMETRICS, http, samples, scrape, statistics

# Metric → how the number in ModelStatistics that it must equal is reached.
SAME = {
    "nv_inference_request_success": "success.count",
    "nv_inference_request_duration_us": "success.us",
    "nv_inference_queue_duration_us": "queue.us",
    "nv_inference_compute_input_duration_us": "compute_input.us",
    "nv_inference_compute_infer_duration_us": "compute_infer.us",
    "nv_inference_compute_output_duration_us": "compute_output.us",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("measured")
    models.write(root / "m", "simple", models.sum_and_difference(), "max_batch_size: 8")
    models.write(root / "m", "gather", models.gather(), "max_batch_size: 8")
    models.write(root / "m", "slow", models.slow(), models.SLOW_CONFIG)
    with serving(root / "m", root / "log") as running:
        yield running


@pytest.fixture
def stub(measured: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(measured.address) as channel:
        yield Stub(channel)


def test_metrics_and_statistics_are_the_same_numbers(measured: Server, stub: Stub) -> None:
    """A scrape shows what ModelStatistics shows, under Triton's names and labels."""
    for rows in (1, 3):
        stub.ModelInfer(simple(*range(rows)))
    found = statistics(stub, "simple")
    labels = {"model": "simple", "version": "1", "provider": "CPUExecutionProvider"}
    for name, path in SAME.items():
        field, _, unit = path.partition(".")
        duration = getattr(found.inference_stats, field)
        expected = duration.count if unit == "count" else duration.ns / 1000
        assert samples(measured, name, **labels) == [pytest.approx(expected)], name
    assert samples(measured, "nv_inference_count", **labels) == [4]
    assert samples(measured, "nv_inference_exec_count", **labels) == [2]
    assert samples(measured, "crossrun_request_duration_seconds_count", **labels) == [2]
    assert samples(measured, "crossrun_request_duration_seconds_bucket", le="+Inf", **labels) == [2]
    assert samples(measured, "crossrun_request_duration_seconds_sum", **labels) == [
        pytest.approx(found.inference_stats.success.ns / 1e9)
    ]


def test_the_provider_that_computes_a_model_is_told(measured: Server) -> None:
    """Every metric of a model carries its provider, and its nodes are counted by provider."""
    cpu = "CPUExecutionProvider"
    assert samples(measured, "crossrun_model_nodes", model="simple", provider=cpu) == [2]
    assert len(samples(measured, "nv_inference_count", model="simple", provider=cpu)) == 1


def test_a_reader_of_openmetrics_is_answered_in_kind(measured: Server) -> None:
    """Prometheus asks for OpenMetrics first; the names are the same there."""
    text = scrape(measured, OPENMETRICS)
    names = {f.name for f in read_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert {*SAME, "nv_inference_pending_request_count", "crossrun_model_nodes"} <= names


def test_triton_s_counters_have_triton_s_names(measured: Server) -> None:
    """Without `_total` in both formats; where that makes a counter, OpenMetrics, they are none."""
    for accept, kind in (("", "counter"), (OPENMETRICS, "unknown")):
        text = scrape(measured, accept)
        for name in (*SAME, "nv_inference_count", "nv_inference_request_failure"):
            assert f"# TYPE {name} {kind}\n" in text
            assert f"\n{name}{{model=" in text
        assert "untyped" not in text


def test_where_the_time_went_is_told_by_buckets(measured: Server, stub: Stub) -> None:
    """Each part of a request has a histogram, whose sum is Triton's; runs have one of rows."""
    before = {part: count(measured, part) for part in PARTS}
    rows = samples(measured, "crossrun_batch_rows_sum", model="simple")
    for one in (1, 3):
        stub.ModelInfer(simple(*range(one)))
    for part, triton in PARTS.items():
        name = f"crossrun_{part}_duration_seconds"
        assert count(measured, part) == before[part] + 2
        (total,) = samples(measured, triton, model="simple")
        assert samples(measured, f"{name}_sum", model="simple") == [pytest.approx(total / 1e6)]
        assert samples(measured, f"{name}_bucket", model="simple", le="+Inf") == [
            count(measured, part)
        ]
    assert samples(measured, "crossrun_batch_rows_sum", model="simple") == [rows[0] + 4]
    one_row = samples(measured, "crossrun_batch_rows_bucket", model="simple", le="1")
    four_rows = samples(measured, "crossrun_batch_rows_bucket", model="simple", le="4")
    assert one_row[0] < four_rows[0]


PARTS = {
    "request": "nv_inference_request_duration_us",
    "queue": "nv_inference_queue_duration_us",
    "compute_input": "nv_inference_compute_input_duration_us",
    "compute_infer": "nv_inference_compute_infer_duration_us",
    "compute_output": "nv_inference_compute_output_duration_us",
}


def count(server: Server, part: str) -> float:
    (found,) = samples(server, f"crossrun_{part}_duration_seconds_count", model="simple")
    return found


def test_the_names_are_as_prometheus_wants_them(measured: Server) -> None:
    """Nothing is wrong with those that are ours; Triton's break rules, as they do in Triton."""
    text = scrape(measured)
    found = promlint.problems(text)
    assert [problem for problem in found if not problem.startswith("nv_")] == []
    assert any(problem.startswith("nv_inference_count: counter") for problem in found)
    for problem in promlint.promtool(text) or ():
        assert problem.startswith("nv_")


def test_who_serves_is_told(measured: Server) -> None:
    """The versions of what serves, and what the process takes of the machine."""
    text = scrape(measured)
    assert re.search(rf'crossrun_build_info{{.*python="{platform.python_version()}".*}} 1', text)
    assert samples(measured, "process_resident_memory_bytes")[0] > 1e6
    assert samples(measured, "process_cpu_seconds_total")[0] > 0


def test_the_dashboard_asks_for_metrics_that_there_are(measured: Server) -> None:
    """Every metric of its queries is exported under that name, with the labels that it names."""
    board = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
    asked = {
        (metric, label)
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for metric, labels in re.findall(
            r"\b((?:crossrun|nv|process)_\w+)(?:{([^}]*)})?", target["expr"]
        )
        for label in ("", *re.findall(r"(\w+)=~?", labels))
    }
    assert len({metric for metric, _ in asked}) > 15
    text = scrape(measured)
    samples_of = dict.fromkeys(re.findall(r"^(\w+?)(?:{| )", text, re.MULTILINE))
    families = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    for metric, label in asked:
        assert metric in samples_of or metric in families, metric
        if label and metric in samples_of:
            assert re.search(rf'^{metric}{{.*\b{label}="', text, re.MULTILINE), (metric, label)


def test_failures_are_told_apart_by_reason(measured: Server, stub: Stub) -> None:
    """The model's failures, refused requests, callers who left, and all else, each by its name."""

    def count(model: str, reason: str) -> float:
        (value,) = samples(
            measured, "nv_inference_request_failure", model=model, version="1", reason=reason
        )
        return value

    for message in (gather(99), pb.ModelInferRequest(model_name="gather")):
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(message)
    assert [count("gather", reason) for reason in ("BACKEND", "OTHER")] == [1, 1]
    running_and_waiting = [stub.ModelInfer.future(slow()) for _ in range(2)]
    while samples(measured, "nv_inference_pending_request_count", model="slow") != [1]:
        assert not any(call.done() for call in running_and_waiting)
    assert code_of(stub.ModelInfer.future(slow())) == StatusCode.RESOURCE_EXHAUSTED
    for call in running_and_waiting:
        call.cancel()
    while (canceled := count("slow", "CANCELED")) < 2:
        assert canceled in (0, 1)
    assert count("slow", "REJECTED") == 1
    assert samples(measured, "nv_inference_pending_request_count", model="slow") == [0]


def test_models_without_a_cache_have_no_metrics_of_one(measured: Server) -> None:
    """As with Triton, the cache's counters exist only where there is a cache."""
    assert samples(measured, "nv_cache_num_hits_per_model") == []


def test_a_metrics_port_in_use_is_one_line(tmp_path: Path, run: Command) -> None:
    """The server does not start without the metrics that it was asked for, and says why."""
    models.write(tmp_path, "gather", models.gather())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run(
            "crossrun-serve", tmp_path, "--port", 0, "--no-allow-http", "--metrics-port", port
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1] == (
        f"crossrun-serve: cannot listen on 127.0.0.1:{port} for metrics: is the port in use? "
        "--metrics-port chooses another, --no-metrics none"
    )


def test_metrics_can_be_left_out(tmp_path: Path) -> None:
    """With --no-metrics no port is opened."""
    models.write(tmp_path / "m", "gather", models.gather())
    with serving(tmp_path / "m", tmp_path / "log", "--no-metrics") as running:
        assert "metrics on" not in running.log.read_text()


def test_metrics_end_with_the_server(tmp_path: Path) -> None:
    """A stopped server has exited, and its metrics port is closed."""
    models.write(tmp_path / "m", "gather", models.gather())
    with serving(tmp_path / "m", tmp_path / "log") as running:
        assert "nv_inference_count" in scrape(running)
        assert running.stop() == 0
        with pytest.raises(urllib.error.URLError):
            scrape(running)


@pytest.mark.parametrize(
    "path", ["/", "/v2/health/ready", "/v2/health/live", "/metrics/", "/favicon.ico"]
)
def test_the_metrics_port_has_metrics_alone(path: str, measured: Server) -> None:
    """Whoever asks there for anything else, a probe for one, is told that it is not there."""
    for method in ("GET", "POST"):
        status, body, _ = http(measured, path, method)
        assert status == 404
        assert body == f"{path} is nothing here; /metrics has metrics\n"
    assert http(measured, path, "HEAD")[:2] == (404, "")


def test_metrics_are_read_and_never_written(measured: Server) -> None:
    """HEAD is GET without its body; other methods are none, and the answer names those that are."""
    query = "/metrics?name[]=nv_inference_count"
    status, body, _ = http(measured, query)
    assert status == 200
    assert "nv_inference_count" in body
    assert "nv_inference_exec_count" not in body
    assert http(measured, query, "HEAD") == (200, "", "")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert http(measured, "/metrics", method) == (
            405,
            "/metrics takes GET, HEAD\n",
            "GET, HEAD",
        )
