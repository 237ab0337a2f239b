"""Bounds of the numbers in a configuration that a client sends.

The owner's config.pbtxt has none: whoever writes it may use the whole machine.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from crossrun.oip import model_config_pb2 as pb
from crossrun_server import cores
from crossrun_server.errors import LoadError
from crossrun_server.model_config import session_config
from crossrun_server.plans import lane_plan

# Path of a number → the largest that is taken.
MOST = {
    "max_batch_size": 1 << 16,
    "dynamic_batching.max_queue_delay_microseconds": 60_000_000,
    "dynamic_batching.default_queue_policy.max_queue_size": 100_000,
    "dynamic_batching.priority_queue_policy.max_queue_size": 100_000,
}
MOST_OTHER = 10**12  # of any other number: eleven days in microseconds
MOST_RUNS = 1000  # of a warm-up
MOST_VALUES = 1 << 26  # of a warm-up sample's input
MOST_THREADS = max(64, 16 * cores.available())  # of all sessions of a version


def check(proto: pb.ModelConfig) -> None:
    """Refuse numbers with which a load would take too long, or too much of the machine.

    Raises:
        LoadError: the message names the number and the bound.
    """
    for path, number in _numbers(proto):
        _at_most(path, number, MOST.get(path, MOST_OTHER))
    runs = sum(sample.count or 1 for sample in proto.model_warmup)
    _at_most("the sum of model_warmup.count", runs, MOST_RUNS)
    for sample in proto.model_warmup:
        for name, entry in sample.inputs.items():
            values = math.prod(entry.dims) * (sample.batch_size or 1)
            _at_most(f"the size of model_warmup input {name!r}", values, MOST_VALUES)
    _at_most("the number of threads of all instances", _threads(proto), MOST_THREADS)


def _at_most(what: str, number: int, most: int) -> None:
    if number > most:
        raise LoadError(f"config: {what} is {number}, and a client may send {most} at most")


def _numbers(message: Message, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Name every whole number of a message, as `instance_group.count`."""
    for field, value in message.ListFields():
        path = prefix + field.name
        for one in _each(value):
            if isinstance(one, Message):
                yield from _numbers(one, f"{path}.")
            elif isinstance(one, int):
                yield path, one


def _each(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    return [value] if isinstance(value, Message | int | float | str | bytes) else list(value)


def _threads(proto: pb.ModelConfig) -> int:
    if session_config.PLAN in proto.parameters:
        text = proto.parameters[session_config.PLAN].string_value
        plan = None if text == lane_plan.AUTO else lane_plan.parse(text)
        return sum(lane.places * lane.threads for lane in plan.lanes) if plan else 0
    groups = list(proto.instance_group)
    sessions = sum(max(1, group.count) * max(1, len(group.gpus)) for group in groups) or 1
    threads = session_config.threads_of(proto)
    return sessions * ((threads.intra_op or cores.available()) + threads.inter_op)
