"""How many requests models have answered, and how long these took."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_client.connection import Connection


@dataclass(frozen=True)
class Counters:
    """Of one version since it was loaded. Times are sums of nanoseconds."""

    requests: int
    failures: int
    rows: int
    runs: int
    total_ns: int  # of the requests, from their arrival to their answer
    queue_ns: int
    compute_ns: int

    def since(self, before: "Counters | None") -> "Counters":
        """Return what came after an earlier reading; all of it if the version is a new one."""
        if before is None or before.requests > self.requests:
            return self
        return Counters(*(now - then for now, then in zip(_all(self), _all(before), strict=True)))

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of a request, on average; None without requests."""
        return _mean_ms(self.total_ns, self.requests)

    @property
    def queue_ms(self) -> float | None:
        """Milliseconds of these that a request waited."""
        return _mean_ms(self.queue_ns, self.requests)

    @property
    def compute_ms(self) -> float | None:
        """Milliseconds of these in which the model ran."""
        return _mean_ms(self.compute_ns, self.requests)

    @property
    def rows_a_run(self) -> float | None:
        """How many rows shared a run; None without runs."""
        return self.rows / self.runs if self.runs else None


def counters(connection: Connection) -> dict[tuple[str, str], Counters]:
    """Read the counters of all versions by name and version; empty if the server has none.

    Raises:
        ClientError: the server cannot be asked.
    """
    answer = connection.told(connection.oip.ModelStatistics, pb.ModelStatisticsRequest())
    every = answer.model_stats if answer else ()
    return {(one.name, one.version): _counters(one) for one in every}


def _counters(one: Any) -> Counters:
    told = one.inference_stats
    return Counters(
        told.success.count,
        told.fail.count,
        one.inference_count,
        one.execution_count,
        told.success.ns,
        told.queue.ns,
        told.compute_infer.ns,
    )


def _all(one: Counters) -> Iterable[int]:
    return vars(one).values()


def _mean_ms(ns: int, count: int) -> float | None:
    return ns / count / 1e6 if count else None
