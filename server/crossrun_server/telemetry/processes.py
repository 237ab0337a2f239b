"""What the server's processes take of the machine, under Prometheus's usual names.

Of several processes each has samples of its own, with the label `process`: sums of memory would
count what they share more than once, and a sum of CPU times would fall when a process ends.
"""

from collections.abc import Iterable, Mapping

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric


def families(processes: Mapping[str, int]) -> Iterable[Metric]:
    """Make the metrics of processes.

    Args:
        processes: what each does, or nothing if it is the only one → its id. Without processes the
            metrics have no samples.
    """
    found = {metric.name: _empty(metric) for metric in _read("self")}
    for what, pid in processes.items():
        for metric in _read(pid):
            for sample in metric.samples:
                labels = {"process": what} if what else {}
                found.setdefault(metric.name, _empty(metric)).add_sample(
                    sample.name, labels, sample.value
                )
    return found.values()


def _read(pid: int | str) -> Iterable[Metric]:
    """Read the figures of a process; there are none if it has ended, or without Linux's /proc."""
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


def _empty(metric: Metric) -> Metric:
    return Metric(metric.name, metric.documentation, metric.type)
