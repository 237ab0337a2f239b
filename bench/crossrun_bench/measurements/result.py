"""What every result holds. Knows no measurement."""

from dataclasses import dataclass

from crossrun_bench.machine.machine import Machine


@dataclass(frozen=True)
class Result:
    """Raw values with what they came from: nothing in a result is a summary."""

    command: str  # as it was typed
    machine: Machine
