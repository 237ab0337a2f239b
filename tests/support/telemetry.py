"""A server's statistics, metrics, traces and log settings, as a client reads and sets them."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from prometheus_client.parser import text_string_to_metric_families as read_text

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support.running import Server


def statistics(stub: Stub, name: str, version: str = "") -> pb.ModelStatistics:
    found = stub.ModelStatistics(pb.ModelStatisticsRequest(name=name, version=version))
    (only,) = found.model_stats
    assert isinstance(only, pb.ModelStatistics)
    return only


OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scrape(server: Server, accept: str = "") -> str:
    request = urllib.request.Request(server.metrics, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as response:
        text: str = response.read().decode()
    return text


def samples(server: Server, name: str, **labels: str) -> list[float]:
    """The values of a metric whose labels include those given.

    This reader adds `_total` to the names of Triton's counters, which do not have it.
    """
    return [
        sample.value
        for family in read_text(scrape(server))
        for sample in family.samples
        if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items()
    ]


def until_pending(server: Server, count: int) -> None:
    """Wait until so many requests wait to be run."""
    while sum(samples(server, "nv_inference_pending_request_count")) != count:
        time.sleep(0.02)


def http(server: Server, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, body and Allow of one request to the metrics port."""
    request = urllib.request.Request(server.metrics.removesuffix("/metrics") + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read().decode(), response.headers.get("Allow", "")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers.get("Allow", "")


def logging(server: Server, **settings: bool | int | str) -> dict[str, bool | int | str]:
    request = pb.LogSettingsRequest()
    kinds = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    for name, value in settings.items():
        setattr(request.settings[name], kinds[type(value)], value)
    with grpc.insecure_channel(server.address) as channel:
        found = Stub(channel).LogSettings(request)
    return {
        name: getattr(setting, str(setting.WhichOneof("parameter_choice")))
        for name, setting in found.settings.items()
    }


def trace(server: Server, model: str = "", **settings: Sequence[str]) -> dict[str, list[str]]:
    request = pb.TraceSettingRequest(model_name=model)
    for name, values in settings.items():
        request.settings[name].value.extend(values)
    with grpc.insecure_channel(server.address) as channel:
        found = Stub(channel).TraceSetting(request)
    return {name: list(setting.value) for name, setting in found.settings.items()}


def traces(path: Path) -> dict[int, dict[str, Any]]:
    """The traces of a file by id; `timestamps` in the order in which they stand there."""
    found: dict[int, dict[str, Any]] = {}
    for entry in json.loads(path.read_text()):
        one = found.setdefault(entry["id"], {"timestamps": []})
        one["timestamps"] += entry.pop("timestamps", [])
        one |= entry
    return found
