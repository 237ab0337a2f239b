"""Which loop a command asks for, and its callers. What a process is told, `turns` knows."""

from collections.abc import Mapping, Sequence
from typing import Any

from crossrun_bench.measurements.load.generator.closed_loop import loaded
from crossrun_bench.measurements.load.generator.counting import Call
from crossrun_bench.measurements.load.generator.open_loop import MOST, offered

Command = Mapping[str, Any]


def callers(command: Command) -> int:
    """How many calls the command's loop needs."""
    return MOST + 1 if "schedule" in command else int(command["clients"])


def taken(calls: Sequence[Call], command: Command) -> dict[str, Any]:
    """A turn of an open loop where the command has a schedule, else of a closed one."""
    warm, seconds = command["warm"], command["seconds"]
    if "schedule" in command:
        return offered(calls, command["schedule"], warm, seconds)
    return loaded(calls, warm, seconds)
