"""Providers that are stood in for by the CPU's: each as fast and as right as a test says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossrun_server.models import lanes
from crossrun_server.plans import race
from crossrun_server.plans.race import Race
from crossrun_server.runtime import inventory, plugins, providers
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.runtime.inventory import ProviderStatus
from crossrun_server.runtime.providers import CPU
from crossrun_server.runtime.session import Session
from crossrun_server.runtime.session_options import ProviderUnavailable

ROUNDS = 5


@dataclass
class StandIn:
    """What a provider does."""

    seconds: float = 1.0  # for one request
    off_by: float = 0.0  # added to each answer
    reason: str = ""  # why it does not run on any model
    here: bool = True  # whether it runs on the model that is there to try
    ran: int = 0  # how often


@dataclass
class Racing:
    """The providers of an installation, what disturbs a race of theirs, and how many there were."""

    providers: dict[str, StandIn]
    version: str = "1.0"
    trips: tuple[int, ...] = ()
    waited: float = 0.0
    races: list[list[str]] = field(default_factory=list)

    def run(self, runs: Mapping[str, Any]) -> Race:
        """Run each once, and say what a stopwatch would."""
        self.races.append(list(runs))
        for name, call in runs.items():
            before = self.providers[name].ran
            call()
            assert self.providers[name].ran == before + 1, f"{name} did not run"
        turns = {name: ROUNDS * [self.providers[name].seconds] for name in runs}
        return Race(turns, self.trips, self.waited)


def racing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **named: StandIn) -> Racing:
    """Let there be these providers, by short names; what is kept is kept for this test alone."""
    found = Racing({providers.full_name(name): one for name, one in named.items()})

    class Other(Session):
        def __init__(self, model: Any, request: Any, threads: Any = None) -> None:
            (wanted,) = request.providers
            self.stand_in = found.providers[wanted.name]
            if self.stand_in.reason:
                raise ProviderUnavailable(f"{wanted.name} {self.stand_in.reason}")
            super().__init__(model, providers.parse("cpu"), threads)
            self.request = request
            if wanted.name != CPU:
                nodes = {wanted.name: sum(self.assignment.nodes.values())}
                self.assignment = Assignment(str(request), nodes, {}, {wanted.name: "f32"})

        def run(self, inputs: Any, outputs: Sequence[str]) -> dict[str, Any]:
            answers = super().run(inputs, outputs)
            self.stand_in.ran += 1
            off_by = self.stand_in.off_by
            return {
                name: array + np.float32(off_by) if array.dtype == np.float32 else array
                for name, array in answers.items()
            }

    def status(name: str) -> ProviderStatus:
        reason = "" if found.providers[name].here else "idle"
        return ProviderStatus(name, "build", (found.version,), reason)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(lanes, "Session", Other)
    monkeypatch.setattr(race, "run", found.run)
    monkeypatch.setattr(inventory, "status", status)
    monkeypatch.setattr(plugins, "built_in", lambda: tuple(found.providers))
    monkeypatch.setattr(plugins, "_registered", dict)
    return found
